"""The pages: what is shown at which path, and what a form that comes back does."""

import json
from pathlib import Path
from typing import Any, cast

from fastapi import APIRouter, FastAPI, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.staticfiles import StaticFiles

from modelyard.client.example import curl_line, example_record
from modelyard.client.options import describe as describe_options
from modelyard.control.api.common import principal_of
from modelyard.control.edge import COOKIE
from modelyard.control.endpoints import describe, describe_all, logs_of
from modelyard.control.platform import Platform
from modelyard.control.remotes import describe_all as describe_remotes
from modelyard.core.errors import InvalidInput, Unauthenticated, Unavailable
from modelyard.core.units import format_seconds
from modelyard.web import catalog, changes, comparison, form, jobs, model, models, page, upload
from modelyard.web.node_call import Outcome, predict
from modelyard.web.page import filled as _filled
from modelyard.web.page import or_problem as _or_problem
from modelyard.web.page import page as _page
from modelyard.web.page import same_origin as _same_origin
from modelyard.web.rows import remote_rows, row_of

HERE = Path(__file__).parent
LOG_LINES = 200
router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)


def mount(app: FastAPI) -> None:
    """Add the pages to the control plane's app."""
    app.mount("/static", StaticFiles(directory=HERE / "static"))
    app.include_router(router)
    for each in (models, model, comparison, changes, jobs, catalog, upload):
        app.include_router(each.router)
    page.install(app)
    app.state.public.update({"/login", "/static/"})
    app.state.login.append("/login")
    app.state.problem.append(page.problem)


@router.get("/")
def show_endpoints(request: Request) -> Response:
    """All endpoints."""
    return _page(request, "endpoints.html", **_endpoints(request))


@router.get("/fragment/endpoints")
def refresh_endpoints(request: Request) -> Response:
    """The table alone, for the page that is open."""
    return _page(request, "endpoints_fragment.html", **_endpoints(request))


@router.get("/endpoints/{name}")
def show_endpoint(request: Request, name: str) -> Response:
    """One endpoint with its form."""
    return _or_problem(
        request, lambda: _page(request, "endpoint.html", **_endpoint(_platform(request), name))
    )


@router.get("/fragment/endpoints/{name}")
def refresh_endpoint(request: Request, name: str) -> Response:
    """The numbers of one endpoint, for the page that is open."""
    return _or_problem(
        request,
        lambda: _page(request, "endpoint_fragment.html", row=row_of(describe(_platform(request), name))),
    )


@router.post("/endpoints/{name}")
async def try_endpoint(request: Request, name: str) -> Response:
    """Predict from the filled-in form, and show the page again with the answer."""
    filled = await _filled(request)
    return await run_in_threadpool(_or_problem, request, lambda: _predicted(request, name, filled))


@router.get("/login")
def show_login(request: Request) -> Response:
    """The form that asks for the key."""
    if not _platform(request).settings.authentication:
        return RedirectResponse("/", 303)
    return _page(request, "login.html", wrong=None)


@router.post("/login")
async def login(request: Request) -> Response:
    """Keep the key, whosesoever it is, in a cookie that scripts and other sites cannot use."""
    _same_origin(request)
    key = (await _filled(request)).get("key", "").strip()
    wrong = await run_in_threadpool(_wrong, _platform(request), key)
    if wrong is not None:
        response = _page(request, "login.html", wrong=wrong)
        response.status_code = 401
        return response
    response = RedirectResponse("/", 303)
    secure = request.url.scheme == "https"
    response.set_cookie(COOKIE, key, httponly=True, samesite="strict", secure=secure, max_age=30 * 86400)
    return response


@router.post("/logout")
def logout(request: Request) -> Response:
    """Forget the key."""
    response = RedirectResponse("/login", 303)
    response.delete_cookie(COOKIE, httponly=True, samesite="strict")
    return response


def _wrong(platform: Platform, key: str) -> str | None:
    """Why nobody can sign in with ``key``; None when somebody can."""
    try:
        by = platform.admission.by(key)
    except Unauthenticated as error:
        return error.message
    if by is None:
        return "This key is not known here."
    return None if by.may("viewer") else "This key predicts, and opens no pages."


def _endpoints(request: Request) -> dict[str, Any]:
    platform, by = _platform(request), principal_of(request)
    status = platform.node_status()
    endpoints = [row_of(answer) for answer in describe_all(platform, status, by)]
    remotes = [row for answer in describe_remotes(platform, status, by) for row in remote_rows(answer)]
    node_up = status is not None or not (endpoints or remotes)
    return {"endpoints": endpoints, "remotes": remotes, "node_up": node_up}


def _endpoint(
    platform: Platform, name: str, filled: dict[str, str] | None = None, outcome: Outcome | None = None
) -> dict[str, Any]:
    answer = describe(platform, name)
    row = row_of(answer)
    example = platform.versions.get(row.model, row.version).analysis.example
    fields, curl = [], None
    if answer.signature is not None:
        fields = form.fields_of(answer.signature, example, filled)
        record = example if example is not None else example_record(answer.signature)
        curl = curl_line(row.url, record, key=platform.settings.authentication)
    try:
        log = logs_of(platform, name, LOG_LINES)
    except Unavailable as error:
        log = error.message
    return {
        "row": row,
        "signature": answer.signature,
        "failure": answer.failure,
        "fields": fields,
        "curl": curl,
        "options": describe_options((answer.serving or answer.wanted).settings),
        "log": log.strip(),
        "outcome": outcome,
        "outputs": [(output, _show(value)) for output, value in (outcome.outputs or {}).items()]
        if outcome
        else [],
        "took": format_seconds(outcome.seconds) if outcome else "",
    }


def _predicted(request: Request, name: str, filled: dict[str, str]) -> Response:
    _same_origin(request)
    platform = _platform(request)
    signature = describe(platform, name).signature
    if signature is None:
        raise Unavailable(f"{name} has not been loaded yet; its inputs are not known.")
    try:
        record = form.record_of(signature, filled)
    except InvalidInput as error:
        outcome = Outcome(0.0, error=error.message, code=error.code, field=error.field)
    else:
        outcome = predict(platform.node_url, platform.key, name, record)
    return _page(request, "endpoint.html", **_endpoint(platform, name, filled, outcome))


def _show(value: Any) -> str:
    """An output as text; a long list is cut, the log of a browser is no place for a million numbers."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 20_000 else f"{text[:20_000]}… ({len(text)} characters in all)"


def _platform(request: Request) -> Platform:
    return cast(Platform, request.app.state.platform)
