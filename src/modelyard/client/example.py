"""A record made from a signature: for a ready-made curl line, a form, or a first call."""

from typing import Any

from modelyard.core.signature import Signature, TensorSpec

_VALUES: dict[str, Any] = {"bool": False, "int": 0, "float": 0.0, "bytes": "text"}


def example_record(signature: Signature) -> dict[str, Any]:
    """Zeros (text: a word) in the shape of each input that must be given; a free length becomes 1."""
    return {spec.name: example_value(spec) for spec in signature.inputs if not spec.optional}


def example_value(spec: TensorSpec) -> Any:
    """A value of the datatype and shape of ``spec``, as JSON."""
    from modelyard.core.datatypes import DATATYPES

    if spec.kind == "json":
        return {}
    value = _VALUES[DATATYPES[spec.datatype].family] if spec.datatype in DATATYPES else "text"
    if spec.kind == "text":
        value = "A sentence."
    if spec.kind == "bytes":
        value = {"b64": ""}
    for length in reversed(spec.shape):
        value = [value] * (1 if length < 0 else length)
    return value


def curl_line(url: str, record: dict[str, Any], *, key: bool = False) -> str:
    """A line for a POSIX shell that sends ``record``; a long one is read from ``record.json`` instead."""
    import shlex

    import msgspec

    body = msgspec.json.encode(record).decode()
    data = shlex.quote(body) if len(body) <= 400 else "@record.json"
    header = ' -H "Authorization: Bearer $MODELYARD_API_KEY"' if key else ""
    return f"curl -s {url}{header} -H 'Content-Type: application/json' -d {data}"
