"""Every failure of the API as the one error body."""

import logging
import math

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from modelyard.control.openapi import NounResponse
from modelyard.core.errors import ERROR_KINDS, Internal, InvalidInput, ModelyardError, NotFound

_log = logging.getLogger("modelyard.control")
_BY_STATUS = {kind.http: code for code, kind in ERROR_KINDS.items()}


def error_response(
    error: ModelyardError,
    request_id: str,
    *,
    status: int | None = None,
    headers: dict[str, str] | None = None,
) -> Response:
    """``error`` as an answer. ``status`` only for what HTTP itself has a status for (405)."""
    fields = dict(headers or {})
    fields["x-request-id"] = request_id
    if error.retry_after is not None and error.kind.retryable:
        fields["retry-after"] = str(max(1, math.ceil(error.retry_after)))
    if error.code == "unauthenticated":
        fields["www-authenticate"] = "Bearer"
    return NounResponse(error.body(request_id), status_code=status or error.kind.http, headers=fields)


def install(app: FastAPI) -> None:
    """Register the handlers; what has none is caught by the edge."""
    app.add_exception_handler(ModelyardError, _ours)
    app.add_exception_handler(RequestValidationError, _validation)
    app.add_exception_handler(HTTPException, answer_http)


def unexpected(error: Exception, request_id: str) -> Response:
    """A fault of ours: the details go to the log, never to the caller."""
    _log.error("a request failed by a fault of ours", exc_info=error, extra={"request_id": request_id})
    text = f"The control plane failed to answer; its log has the details under {request_id}."
    return error_response(Internal(text), request_id)


def request_id_of(request: Request) -> str:
    """The id that the edge gave."""
    return getattr(request.state, "request_id", "-")


async def _ours(request: Request, error: Exception) -> Response:
    assert isinstance(error, ModelyardError)
    if error.code == "internal":
        _log.error("%s", error.message, exc_info=error, extra={"request_id": request_id_of(request)})
    return error_response(error, request_id_of(request))


async def _validation(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    field = field_of(first["loc"])
    message = str(first["msg"])
    if first["type"] == "json_invalid":
        message, field = f"The body is not JSON: {first.get('ctx', {}).get('error', message)}", None
    elif first["type"] == "extra_forbidden":
        message = "This key is not known here; unknown keys are refused"
    elif first["type"] == "missing":
        message = "This is required" if field else "A JSON body is required"
    text = f"{field}: {message}." if field else f"{message}."
    return error_response(InvalidInput(text, field=field), request_id_of(request))


def field_of(location: tuple[int | str, ...]) -> str | None:
    """``("body", "files", 0, "path")`` as ``files[0].path``."""
    parts = location[1:] if location and location[0] in ("body", "query", "path", "header") else location
    text = ""
    for part in parts:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.removeprefix(".")[:200] or None


async def answer_http(request: Request, error: Exception) -> Response:
    """What HTTP itself refuses, as the error body."""
    assert isinstance(error, HTTPException)
    request_id = request_id_of(request)
    path = request.url.path[:200]
    if error.status_code == 404:
        return error_response(NotFound(f"There is nothing at {path}."), request_id)
    if error.status_code == 405:
        # HTTP has a status of its own for this, which our table of codes does not need elsewhere.
        allowed = dict(error.headers or {})
        told = InvalidInput(
            f"{path} does not take {request.method}; it takes {allowed.get('Allow', 'others')}."
        )
        return error_response(told, request_id, status=405, headers=allowed)
    code = _BY_STATUS.get(error.status_code, "invalid_input" if error.status_code < 500 else "internal")
    return error_response(ModelyardError(str(error.detail), code=code), request_id)
