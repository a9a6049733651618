"""``/invocations`` as MLflow, SageMaker and Vertex AI send it, for the default endpoint.

    {"dataframe_split": {"columns": [...], "data": [[...], ...]}}    a data frame
    {"dataframe_records": [{"a": 1}, ...]}                           the same, row by row
    {"instances": [...]}  {"inputs": ...}                            rows or columns of tensors
    text/csv                                                         with the columns' names in the first line;
                                                                     bare numbers for a model with one input
    ``params`` (MLflow) or ``parameters`` (Vertex) beside them are the parameters of the call

The answer is ``{"predictions": [...]}``, a value per row, or an object where the model has several outputs.
The columns of a data frame are the inputs by name, or together the only input of a model of vectors.

Sources: https://mlflow.org/docs/latest/ml/deployment/deploy-model-locally,
https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-inference-code.html and
https://cloud.google.com/vertex-ai/docs/predictions/custom-container-requirements
"""

import csv
import io
from collections.abc import Mapping
from typing import cast

import msgspec
from msgspec import UNSET, UnsetType

from modelyard.core.datatypes import DATATYPES
from modelyard.core.errors import InvalidInput
from modelyard.core.signature import Signature, TensorSpec
from modelyard.core.version import VERSION
from modelyard.serve.call import Call
from modelyard.serve.dataplane import Dataplane
from modelyard.serve.http import Request, Response, decode_error, json_response
from modelyard.serve.protocols.native import Record
from modelyard.serve.protocols.options import options_of
from modelyard.serve.protocols.records import answer_rows, column_call, only_input, row_calls, tensors_of
from modelyard.serve.protocols.v2_models import check_ready
from modelyard.serve.served import Served


class Split(msgspec.Struct, forbid_unknown_fields=True):
    """A data frame. ``index`` names rows, which an answer in their order needs not."""

    data: list[list[object]]
    columns: list[str | int] | None = None
    index: list[object] | None = None


class Invocation(msgspec.Struct, forbid_unknown_fields=True):
    """The body of ``/invocations``: one of the first four."""

    dataframe_split: Split | UnsetType = UNSET
    dataframe_records: list[Record] | UnsetType = UNSET
    instances: object | UnsetType = UNSET
    inputs: object | UnsetType = UNSET
    params: Record = {}
    parameters: Record | None = None


_decode = msgspec.json.Decoder(Invocation).decode
_FORMS = ("dataframe_split", "dataframe_records", "instances", "inputs")


def aliases(environment: Mapping[str, str]) -> dict[str, str]:
    """The paths that Vertex AI asks for by ``AIP_HEALTH_ROUTE`` and ``AIP_PREDICT_ROUTE``, with ours.

    Raises InvalidInput for one that is not a path.
    """
    found: dict[str, str] = {}
    for variable, path in (("AIP_HEALTH_ROUTE", "/ping"), ("AIP_PREDICT_ROUTE", "/invocations")):
        route = environment.get(variable)
        if route:
            if not route.startswith("/") or route.startswith("/node"):
                raise InvalidInput(
                    f"{variable} is a path such as '/predict'; it is {route!r}.", field=variable
                )
            found[route] = path
    return found


async def ping(plane: Dataplane) -> Response:
    """``GET /ping``: whether the default endpoint answers. Raises Unavailable or NotFound."""
    check_ready(plane.resolve(plane.default()))
    return Response(b"\n", content_type=b"text/plain; charset=utf-8")


async def version() -> Response:
    """``GET /version``: ours."""
    return Response(VERSION.encode(), content_type=b"text/plain; charset=utf-8")


async def invoke(plane: Dataplane, request: Request) -> Response:
    """``POST /invocations``."""
    served = plane.resolve(plane.default())
    with plane.counting_refusals(served):
        calls = _calls(served, request)
    if isinstance(calls, Call):
        return json_response({"predictions": tensors_of(served, await plane.predict(served, calls))})
    return json_response({"predictions": await answer_rows(plane, served, calls)})


def _calls(served: Served, request: Request) -> list[Call] | Call:
    options = options_of(request)
    kind = request.headers.get(b"content-type", b"").split(b";")[0].strip().lower()
    if kind == b"text/csv":
        rows = _csv_rows(served.signature, request.body)
        return row_calls(served, rows, {}, options, "rows")
    body = request.json_body()
    try:
        wanted = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise decode_error(error, body) from None
    given = [form for form in _FORMS if getattr(wanted, form) is not UNSET]
    if len(given) != 1:
        raise InvalidInput(f"Send one of {', '.join(_FORMS)}.", field="body")
    parameters = wanted.params | (wanted.parameters or {})
    form = given[0]
    if wanted.dataframe_split is not UNSET:
        rows = _frame_rows(served.signature, wanted.dataframe_split)
    elif wanted.dataframe_records is not UNSET:
        rows = _by_column(served.signature, wanted.dataframe_records)
    elif wanted.instances is not UNSET:
        rows = wanted.instances
    else:
        return column_call(served, wanted.inputs, parameters, options, form)
    return row_calls(served, rows, parameters, options, form)


# --- data frames


def _frame_rows(signature: Signature, frame: Split) -> list[Record]:
    width = len(frame.columns) if frame.columns is not None else len(frame.data[0]) if frame.data else 0
    for index, row in enumerate(frame.data):
        if len(row) != width:
            raise InvalidInput(
                f"This row has {len(row)} values, the frame {width} columns.",
                field=f"dataframe_split.data[{index}]",
            )
    columns = [str(column) for column in frame.columns or range(width)]
    if len(set(columns)) != width:
        raise InvalidInput("Two columns have one name.", field="dataframe_split.columns")
    whole = _whole_row(signature, columns)
    if whole is not None:
        return [{whole.name: row if whole.shape else row[0]} for row in frame.data]
    return [dict(zip(columns, row, strict=True)) for row in frame.data]


def _by_column(signature: Signature, records: list[Record]) -> list[Record]:
    columns = list(records[0]) if records else []
    whole = _whole_row(signature, columns)
    if whole is None:
        return records
    rows: list[Record] = []
    for index, record in enumerate(records):
        if record.keys() != set(columns):
            raise InvalidInput(
                "This record has other columns than the first.", field=f"dataframe_records[{index}]"
            )
        row = [record[column] for column in columns]
        rows.append({whole.name: row if whole.shape else row[0]})
    return rows


def _whole_row(signature: Signature, columns: list[str]) -> TensorSpec | None:
    """The only input of a model, when a row of the frame is one value of it; None: inputs by name."""
    spec = only_input(signature)
    if spec is None or len(spec.shape) > 1 or any(each.name in columns for each in signature.inputs):
        return None
    wanted = spec.shape[0] if spec.shape else 1
    return spec if wanted in (-1, len(columns)) else None


# --- CSV


def _csv_rows(signature: Signature, body: bytes) -> list[Record]:
    """The lines of a CSV as records. Raises InvalidInput naming line and column."""
    try:
        text = body.decode("utf-8-sig")
        lines = [line for line in csv.reader(io.StringIO(text, newline=""), strict=True) if line]
    except UnicodeDecodeError:
        raise InvalidInput("The CSV is not UTF-8 text.", field="body") from None
    except csv.Error as error:
        raise InvalidInput(f"This is not CSV: {error}.", field="body") from None
    if not lines:
        raise InvalidInput("The CSV has no line.", field="body")
    specs = {spec.name: spec for spec in signature.inputs}
    header = [name.strip() for name in lines[0]]
    whole = _whole_row(signature, header)
    bare = whole is not None and all(_is_number(name) for name in header)
    first = 0 if bare else 1
    if not bare and len(set(header)) != len(header):
        raise InvalidInput("Two columns of the CSV have one name.", field="line 1")
    records: list[Record] = []
    for number, line in enumerate(lines[first:], first + 1):
        if len(line) != len(header):
            raise InvalidInput(
                f"Line {number} has {len(line)} values, the first one {len(header)}.",
                field=f"line {number}",
            )
        if whole is not None:
            row = [_cell(whole, cell, f"line {number}") for cell in line]
            records.append({whole.name: row if whole.shape else row[0]})
            continue
        record: Record = {}
        for name, cell in zip(header, line, strict=True):
            spec = specs.get(name)
            if spec is None:
                raise InvalidInput(
                    f"{name!r:.60} is not an input; the first line names columns among {', '.join(specs)}.",
                    field="line 1",
                )
            if spec.shape:
                raise InvalidInput(
                    f"{name!r} takes lists, which CSV has no word for; send JSON.", field=f"line {number}"
                )
            if cell or not spec.optional:
                record[name] = _cell(spec, cell, f"line {number}, column {name}")
        records.append(record)
    return records


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text


def _cell(spec: TensorSpec, cell: str, field: str) -> object:
    """A cell as a value of ``spec``: an empty one is a gap in a table."""
    family = DATATYPES[spec.datatype].family
    text = cell.strip()
    if family == "bytes":
        return cell
    if not text:
        return None
    if family == "bool":
        value = {"true": True, "false": False, "1": True, "0": False}.get(text.lower())
        if value is None:
            raise InvalidInput(f"{text!r:.40} is neither true nor false.", field=field)
        return value
    try:
        return cast(object, _whole(text) if family == "int" else float(text))
    except ValueError:
        raise InvalidInput(f"{text!r:.40} is not a number for {spec.datatype}.", field=field) from None


def _whole(text: str) -> int:
    if len(text) > 24 or "_" in text:
        raise ValueError(text)
    return int(text)
