"""The V1 protocol of TensorFlow Serving and KServe: ``:predict`` with rows or columns, and readiness.

Sources: https://www.tensorflow.org/tfx/serving/api_rest and
https://kserve.github.io/website/docs/concepts/architecture/data-plane/v1-protocol
"""

import msgspec
from msgspec import UNSET, UnsetType

from modelyard.core.errors import InvalidInput
from modelyard.serve.dataplane import Dataplane
from modelyard.serve.http import Request, Response, decode_error, json_response
from modelyard.serve.protocols.openai import model_card
from modelyard.serve.protocols.options import options_of
from modelyard.serve.protocols.records import answer_rows, column_call, row_calls, tensors_of
from modelyard.serve.protocols.v2_models import check_ready

_SIGNATURE = "serving_default"


class PredictRequest(msgspec.Struct, forbid_unknown_fields=True):
    """The body of ``:predict``: ``instances`` (rows) or ``inputs`` (columns)."""

    instances: object | UnsetType = UNSET
    inputs: object | UnsetType = UNSET
    signature_name: str = _SIGNATURE
    parameters: dict[str, object] = {}


_decode = msgspec.json.Decoder(PredictRequest).decode


async def predict(plane: Dataplane, request: Request, name: str, version: str | None) -> Response:
    """``POST /v1/models/{name}[/versions/{version}]:predict``."""
    served = plane.resolve(name, version)
    with plane.counting_refusals(served):
        body = request.json_body()
        try:
            wanted = _decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise decode_error(error, body) from None
        if wanted.signature_name != _SIGNATURE:
            raise InvalidInput(
                f"A model here has one signature, {_SIGNATURE!r}; leave signature_name out.",
                field="signature_name",
            )
        if (wanted.instances is UNSET) == (wanted.inputs is UNSET):
            raise InvalidInput("Send either 'instances' (rows) or 'inputs' (columns).", field="instances")
        options = options_of(request)
        calls = call = None
        if wanted.instances is not UNSET:
            calls = row_calls(served, wanted.instances, wanted.parameters, options, "instances")
        else:
            call = column_call(served, wanted.inputs, wanted.parameters, options, "inputs")
    if calls is not None:
        return json_response({"predictions": await answer_rows(plane, served, calls)})
    assert call is not None
    return json_response({"outputs": tensors_of(served, await plane.predict(served, call))})


async def models(plane: Dataplane) -> Response:
    """``GET /v1/models``: V1's list of names and OpenAI's list of models in one object."""
    names = plane.endpoints()
    return json_response({"object": "list", "data": [model_card(name) for name in names], "models": names})


async def model(plane: Dataplane, name: str, version: str | None) -> Response:
    """``GET /v1/models/{name}[/versions/{version}]``: KServe's readiness, TensorFlow Serving's status of
    the version and OpenAI's model in one object. Raises Unavailable while it is not ready."""
    served = plane.resolve(name, version)
    check_ready(served)
    status = {
        "version": str(served.version),
        "state": "AVAILABLE",
        "status": {"error_code": "OK", "error_message": ""},
    }
    return json_response(
        {**model_card(name), "name": name, "ready": True, "model_version_status": [status]}
    )
