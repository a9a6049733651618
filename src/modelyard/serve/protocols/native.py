"""The native protocol: a record in, a record out; inputs and parameters by name, as plain JSON.

    POST /models/{m}/predict         {"text": "hello"}                  → {"embedding": [...]}
    POST /models/{m}/predict/batch   {"records": [{...}, {...}]}        → {"predictions": [{...}, ...]}
                                     [{...}, {...}]                     the same, without a name
                                     {"texts": [...], "normalize": true}   columns: a list per input,
                                     by its name or its plural; one value per parameter

Errors of single records stand in their place in ``predictions``; the others are answered.
"""

from collections.abc import Sequence

import msgspec

from modelyard.core.errors import InvalidInput, ModelyardError
from modelyard.core.signature import Signature
from modelyard.serve.cache.answers import cache_headers
from modelyard.serve.call import Answer, Call, Options, RawTensor, Result
from modelyard.serve.checks import checked_call
from modelyard.serve.codec import pack_record, unpack_record
from modelyard.serve.dataplane import Dataplane
from modelyard.serve.http import Request, Response, decode_error, json_response
from modelyard.serve.protocols.options import options_of
from modelyard.serve.served import Served

Record = dict[str, object]

_decode = msgspec.json.Decoder(Record).decode
_decode_batch = msgspec.json.Decoder(Record | list[Record]).decode
MAX_RECORDS = 100_000


async def predict(plane: Dataplane, request: Request, name: str) -> Response:
    """One record."""
    served = plane.resolve(name)
    with plane.counting_refusals(served):
        record = object_of(request)
        call = record_call(served, record, "", options_of(request))
    answer = await plane.predict(served, call)
    return json_response(record_of(served, answer), headers=_headers(served, (answer,)))


async def predict_batch(plane: Dataplane, request: Request, name: str, *, bare: bool = False) -> Response:
    """Many records, each answered or refused by itself, in order.

    ``bare`` (``/batch_predict``) answers a bare list by the bare values that are predicted: the output
    ``prediction``, or the only one there is.
    """
    served = plane.resolve(name)
    with plane.counting_refusals(served):
        body = _batch_of(request)
        records = body if isinstance(body, list) else records_of(served.signature, body)
        if not records:
            raise InvalidInput("There is no record in this batch; send at least one.", field="records")
        if len(records) > MAX_RECORDS:
            raise InvalidInput(
                f"{len(records)} records at once; send up to {MAX_RECORDS}.", field="records"
            )
        options = options_of(request)
    calls: list[Call | ModelyardError] = []
    for index, record in enumerate(records):
        try:
            calls.append(record_call(served, record, f"records[{index}].", options))
        except ModelyardError as error:
            calls.append(error)
    results = await plane.predict_all(served, calls)
    predictions: list[Record] = []
    for result in results:
        if isinstance(result, ModelyardError):
            body = result.body(request.id)
            del body["request_id"]
            predictions.append(body)
        else:
            predictions.append(record_of(served, result))
    answer: list[Record] | list[object] = predictions
    if bare and isinstance(body, list):
        answer = [_bare(prediction) for prediction in predictions]
    return json_response({"predictions": answer}, headers=_headers(served, results))


def _bare(prediction: Record) -> object:
    """What a record predicts, without its name: the output ``prediction``, or the only one there is."""
    if "prediction" in prediction:
        return prediction["prediction"]
    return next(iter(prediction.values())) if len(prediction) == 1 else prediction


async def models(plane: Dataplane) -> Response:
    """``GET /models``: what can be called here."""
    answer: list[Record] = []
    for name in plane.endpoints():
        served = plane.resolve(name)
        answer.append(
            {
                "name": name,
                "model": served.model,
                "version": str(served.version),
                "ready": served.ready,
                "signature": served.signature,
            }
        )
    return json_response({"models": answer, "default": plane.table.default})


def object_of(request: Request) -> Record:
    """The body as a JSON object. Raises InvalidInput."""
    body = request.json_body()
    try:
        return _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise decode_error(error, body) from None


def _batch_of(request: Request) -> Record | list[Record]:
    body = request.json_body()
    try:
        return _decode_batch(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise decode_error(error, body) from None


def record_call(served: Served, record: Record, prefix: str, options: Options) -> Call:
    """A record as a call. Raises InvalidInput naming the field."""
    signature = served.signature
    specs = {spec.name: spec for spec in signature.inputs}
    known_parameters = {spec.name for spec in signature.parameters}
    inputs: list[RawTensor] = []
    parameters: Record = {}
    for name, value in record.items():
        spec = specs.get(name)
        if spec is not None:
            if value is None and spec.optional:
                continue
            shape, data = pack_record(spec, value, prefix + name, signature.batched)
            inputs.append(RawTensor(name, spec.datatype, shape, data))
        elif name in known_parameters:
            parameters[name] = value
        else:
            known = ", ".join([*specs, *known_parameters])
            raise InvalidInput(
                f"{served.endpoint!r} takes no {name!r}; it takes: {known}.", field=prefix + name
            )
    given = {tensor.name for tensor in inputs}
    for spec in signature.inputs:
        if spec.name not in given and not spec.optional:
            raise InvalidInput(f"The input {spec.name!r} is missing.", field=prefix + spec.name)
    return checked_call(served, inputs, parameters, options)


def records_of(signature: Signature, body: Record) -> list[Record]:
    """The records of a batch's body, given as records or as columns. Raises InvalidInput."""
    if "records" in body and not any(spec.name == "records" for spec in signature.inputs):
        records = body["records"]
        if len(body) > 1 or not isinstance(records, list):
            raise InvalidInput('Send {"records": [...]} and nothing beside it.', field="records")
        for index, record in enumerate(records):  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
            if not isinstance(record, dict):
                raise InvalidInput(
                    "A record is a JSON object of inputs by name.", field=f"records[{index}]"
                )
        return records  # pyright: ignore[reportUnknownVariableType]
    columns: dict[str, list[object]] = {}
    shared: Record = {}
    inputs = {spec.name for spec in signature.inputs}
    options = {spec.name for spec in signature.parameters}
    for name, value in body.items():
        column = name if name in inputs else name.removesuffix("s")
        if column in inputs:
            if not isinstance(value, list):
                raise InvalidInput(f"{name!r} is a column: give a list, one value per record.", field=name)
            columns[column] = value  # pyright: ignore[reportUnknownArgumentType]
        elif name in options:
            shared[name] = value
        else:
            known = ", ".join(f"{name}s" for name in sorted(inputs))
            raise InvalidInput(
                f"{name!r} is neither a column nor a parameter; send 'records', or the columns {known}.",
                field=name,
            )
    lengths = {len(column) for column in columns.values()}
    if len(lengths) > 1:
        raise InvalidInput(f"The columns differ in length: {sorted(lengths)}.", field="records")
    count = lengths.pop() if lengths else 0
    return [{**{name: column[row] for name, column in columns.items()}, **shared} for row in range(count)]


def record_of(served: Served, answer: Answer) -> Record:
    """The answer to one record, as JSON values by the names of the outputs."""
    signature = served.signature
    specs = {spec.name: spec for spec in signature.outputs}
    batched = signature.batched
    return {
        tensor.name: unpack_record(
            specs.get(tensor.name), tensor.datatype, tensor.shape, tensor.data, batched
        )
        for tensor in answer
    }


def _headers(served: Served, results: Sequence[Result]) -> tuple[tuple[bytes, bytes], ...]:
    headers = (
        (b"modelyard-model", served.model.encode()),
        (b"modelyard-version", b"%d" % served.version),
    )
    return headers if served.plain else headers + cache_headers(results)
