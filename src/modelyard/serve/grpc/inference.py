"""The calls of GRPCInferenceService beside inference: what is here, what it takes, how it has done."""

from collections.abc import Awaitable, Callable
from typing import Final

from modelyard.core.errors import Conflict, ModelyardError, NotFound, Unavailable
from modelyard.core.signature import Signature, TensorSpec
from modelyard.core.version import VERSION
from modelyard.serve.dataplane import Dataplane
from modelyard.serve.protocols.v2_models import config_of, index_of, put_to_sleep, stats_of, wake
from modelyard.serve.served import Served

Values = dict[str, object]
EXTENSIONS: Final = (
    "model_configuration",
    "model_repository",
    "parameters",
    "schedule_policy",
    "statistics",
)


def _text(values: Values, name: str) -> str:
    return str(values.get(name, ""))


def _served(plane: Dataplane, values: Values) -> Served:
    return plane.resolve(_text(values, "name"), _text(values, "version") or None)


def _live(plane: Dataplane, values: Values) -> Values:
    return {"live": True}


def is_ready(plane: Dataplane) -> bool:
    """Every endpoint of the table would compute a call made now."""
    return all(plane.resolve(name).ready for name in plane.endpoints())


def _ready(plane: Dataplane, values: Values) -> Values:
    return {"ready": is_ready(plane)}


def _model_ready(plane: Dataplane, values: Values) -> Values:
    """False also for what is not there: clients ask until it is, and Triton answers so."""
    try:
        return {"ready": _served(plane, values).ready}
    except (NotFound, Unavailable):
        return {"ready": False}


def _server_metadata(plane: Dataplane, values: Values) -> Values:
    return {"name": "modelyard", "version": VERSION, "extensions": EXTENSIONS}


def _model_metadata(plane: Dataplane, values: Values) -> Values:
    served = _served(plane, values)
    signature = served.signature
    return {
        "name": served.endpoint,
        "versions": [str(served.version)],
        "platform": served.platform,
        "inputs": [_described(signature, spec) for spec in signature.inputs],
        "outputs": [_described(signature, spec) for spec in signature.outputs],
    }


def _described(signature: Signature, spec: TensorSpec) -> Values:
    return {"name": spec.name, "datatype": spec.datatype, "shape": signature.batch_shape(spec)}


def _model_config(plane: Dataplane, values: Values) -> Values:
    return {"config": config_of(plane, _served(plane, values))}


def _statistics(plane: Dataplane, values: Values) -> Values:
    name = _text(values, "name")
    served = [_served(plane, values)] if name else [plane.resolve(each) for each in plane.endpoints()]
    return {"model_stats": [stats_of(one) for one in served]}


def _index(plane: Dataplane, values: Values) -> Values:
    models = index_of(plane)
    return {"models": [each for each in models if each["state"] == "READY" or not values.get("ready")]}


async def _load(plane: Dataplane, values: Values) -> Values:
    name = _text(values, "model_name")
    if values.get("parameters"):
        raise Conflict(
            "A deployment's settings are the control plane's; change them with: modelyard deploy",
            field="parameters",
        )
    await wake(plane, name)
    return {}


async def _unload(plane: Dataplane, values: Values) -> Values:
    await put_to_sleep(plane, _text(values, "model_name"))
    return {}


Handler = Callable[[Dataplane, Values], Values | Awaitable[Values]]
METHODS: Final[dict[str, Handler]] = {
    "ServerLive": _live,
    "ServerReady": _ready,
    "ModelReady": _model_ready,
    "ServerMetadata": _server_metadata,
    "ModelMetadata": _model_metadata,
    "ModelConfig": _model_config,
    "ModelStatistics": _statistics,
    "RepositoryIndex": _index,
    "RepositoryModelLoad": _load,
    "RepositoryModelUnload": _unload,
}

SERVING, NOT_SERVING, SERVICE_UNKNOWN = 1, 2, 3


def health_of(plane: Dataplane, service: str, services: frozenset[str]) -> int:
    """grpc.health.v1's status of ``service``: the node ("" or a service of ours), or one endpoint."""
    if not service or service in services:
        return SERVING if is_ready(plane) else NOT_SERVING
    try:
        return SERVING if plane.resolve(service).ready else NOT_SERVING
    except NotFound:
        return SERVICE_UNKNOWN
    except ModelyardError:
        return NOT_SERVING
