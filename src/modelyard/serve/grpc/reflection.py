"""grpc.reflection: what services there are and what their messages look like, for clients like grpcurl.

Source: https://github.com/grpc/grpc/blob/master/doc/server-reflection.md
"""

from modelyard.serve.grpc.descriptors import FILES, descriptor, services, symbols
from modelyard.serve.grpc.proto_file import load

_NOT_FOUND, _INVALID = 5, 3


def answer(request: dict[str, object]) -> dict[str, object]:
    """A ServerReflectionResponse (v1 and v1alpha are alike)."""
    response: dict[str, object] = {
        "valid_host": request.get("host", ""),
        "original_request": request,
    }
    if "list_services" in request:
        names = sorted(name for file in FILES for name in services(load(file)))
        response["list_services_response"] = {"service": [{"name": name} for name in names]}
    elif "file_containing_symbol" in request:
        symbol = str(request["file_containing_symbol"])
        response |= _file(symbols().get(symbol), f"{symbol} is not declared here")
    elif "file_by_filename" in request:
        name = str(request["file_by_filename"])
        known = {load(file).name: file for file in FILES}
        response |= _file(known.get(name), f"there is no file {name} here")
    elif "all_extension_numbers_of_type" in request:
        name = str(request["all_extension_numbers_of_type"])
        if name in symbols():
            response["all_extension_numbers_response"] = {"base_type_name": name}
        else:
            response["error_response"] = _error(_NOT_FOUND, f"{name} is not declared here")
    elif "file_containing_extension" in request:
        response["error_response"] = _error(_NOT_FOUND, "no extensions are declared here")
    else:
        response["error_response"] = _error(_INVALID, "the request asks for nothing")
    return response


def _file(name: str | None, missing: str) -> dict[str, object]:
    if name is None:
        return {"error_response": _error(_NOT_FOUND, missing)}
    return {"file_descriptor_response": {"file_descriptor_proto": [descriptor(name)]}}


def _error(code: int, message: str) -> dict[str, object]:
    return {"error_code": code, "error_message": message}
