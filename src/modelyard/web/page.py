"""What every page has: its headers, who may send its forms, and how a failure is told on it."""

import base64
import json
from collections.abc import Callable
from typing import Any

from fastapi import FastAPI, Request
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, Response

from modelyard.control import errors
from modelyard.control.api.common import platform_of, principal_of
from modelyard.control.edge import COOKIE
from modelyard.core.errors import Forbidden, InvalidInput, ModelyardError, NotFound
from modelyard.web.rendering import render

HEADERS = {
    # Nothing but our own files; no framing, so that no other page can put a button over ours.
    "content-security-policy": "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; "
    "form-action 'self'; object-src 'none'",
    "x-content-type-options": "nosniff",
    # Not "no-referrer": browsers then send "Origin: null", which the edge refuses.
    "referrer-policy": "same-origin",
    "cache-control": "no-store",
}


def page(request: Request, template: str, *, status: int = 200, **values: Any) -> Response:
    """A template, rendered; ``section`` is the part of the platform that the navigation marks, ``may`` tells which
    role the caller has."""
    by = principal_of(request)
    known = getattr(request.state, "principal", None) is not None
    text = render(
        template,
        signed_in=known and platform_of(request).settings.authentication and COOKIE in request.cookies,
        who=by.name or "the home's key",
        role="admin" if by.installation else f"{by.role} of {by.project}",
        may=by.may,
        section=request.url.path.split("/")[1] or "endpoints",
        **values,
    )
    return HTMLResponse(text, status_code=status, headers=HEADERS)


def or_problem(
    request: Request, make: Callable[[], Response], *, missing: str = "There is no such endpoint"
) -> Response:
    """The page, or one that says why there is none; ``missing`` is its title when something is not there."""
    try:
        return make()
    except ModelyardError as error:
        return problem(request, error, missing=missing)


def problem(request: Request, error: ModelyardError, *, missing: str = "There is no such page") -> Response:
    """The page that says what went wrong."""
    title = missing if isinstance(error, NotFound) else "This did not work"
    if isinstance(error, NotFound) and error.field in ("version", "alias"):
        title = "There is no such version"  # of a model that is there, whatever the page is about
    return page(request, "problem.html", status=error.kind.http, title=title, sentence=error.message)


def same_origin(request: Request) -> None:
    """Raise Forbidden when a browser says that another site made this request.

    The edge compares the Origin header already; this also holds where a browser leaves that out.
    """
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise Forbidden("Another site may not fill in this form.")


async def filled(request: Request) -> dict[str, str]:
    """The fields of a form that was sent, by their names."""
    async with request.form() as fields:
        return {
            name: await _of_file(value) if isinstance(value, UploadFile) else value
            for name, value in fields.items()
        }


async def changed(
    request: Request, change: Callable[[dict[str, str]], Response], *, missing: str
) -> Response:
    """What a form's ``change`` answers, outside the event loop; refused when another site sent the form."""
    fields = await filled(request)

    def make() -> Response:
        same_origin(request)
        return change(fields)

    return await run_in_threadpool(or_problem, request, make, missing=missing)


def install(app: FastAPI) -> None:
    """Tell a browser what has no page, or came with a path that cannot be, on a page; programs get the API's JSON."""

    async def tell(request: Request, error: Exception) -> Response:
        if not isinstance(error, HTTPException) or not _wants_page(request):
            return await errors.answer_http(request, error)
        if error.status_code == 404:
            return problem(request, NotFound(f"There is nothing at {request.url.path[:200]}."))
        return problem(request, InvalidInput(f"{error.detail}: {request.method} {request.url.path[:200]}"))

    app.add_exception_handler(HTTPException, tell)


def _wants_page(request: Request) -> bool:
    return not request.url.path.startswith("/api/") and "text/html" in request.headers.get("accept", "")


async def _of_file(file: UploadFile) -> str:
    """What is in a file: its text, or what stands for bytes in JSON."""
    data = await file.read()
    try:
        return data.decode()
    except UnicodeDecodeError:
        return json.dumps({"b64": base64.b64encode(data).decode()})
