"""What the forms of a model's page do: aliases moved, versions deployed, deprecated, trusted, deleted, restored."""

from collections.abc import Callable
from typing import Final

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from modelyard.core.errors import InvalidInput, ModelyardError
from modelyard.core.model import Version
from modelyard.core.names import check_name
from modelyard.core.reference import parse_which
from modelyard.pipeline.parameters import DeployParameters
from modelyard.registry.versions import register
from modelyard.web.model import MISSING, show
from modelyard.web.page import changed
from modelyard.web.visitor import Visitor

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)

Fields = dict[str, str]
_ONE: Final = "/models/{name}/versions/{version}"
_WHY: Final = 2000  # characters, as for the API


@router.post(_ONE + "/aliases")
async def change_alias(request: Request, name: str, version: str) -> Response:
    """Move an alias here, or take it away; whoever looked at another state of it is told."""

    def change(visitor: Visitor, found: Version, fields: Fields) -> str:
        alias, why = fields.get("alias", "").strip(), _why(fields)
        expected = _expected(fields)
        aliases = visitor.platform.aliases
        if _which(fields, "move", "remove") == "remove":
            aliases.remove(name, alias, who=visitor.who, why=why, expected=expected)
        else:
            aliases.move(name, alias, found.number, who=visitor.who, why=why, expected=expected)
        return "#history"

    return await _changed(request, name, version, change)


@router.post(_ONE + "/deprecation")
async def change_deprecation(request: Request, name: str, version: str) -> Response:
    """Deprecate a version, or take that back."""

    def change(visitor: Visitor, found: Version, fields: Fields) -> str:
        retirement = visitor.platform.retirement
        if _which(fields, "deprecate", "undo") == "undo":
            retirement.undeprecate(name, found.number, who=visitor.who, why=_why(fields))
        else:
            retirement.deprecate(name, found.number, who=visitor.who, why=_why(fields))
        return ""

    return await _changed(request, name, version, change)


@router.post(_ONE + "/delete")
async def delete_version(request: Request, name: str, version: str) -> Response:
    """Delete a version that nothing uses."""

    def change(visitor: Visitor, found: Version, fields: Fields) -> str:
        _sure(fields)
        platform = visitor.platform
        with platform.changes:
            platform.retirement.delete(
                name,
                found.number,
                grace=platform.settings.version_grace,
                who=visitor.who,
                why=_why(fields),
            )
        platform.janitor.wake()
        return ""

    return await _changed(request, name, version, change)


@router.post(_ONE + "/restore")
async def restore_version(request: Request, name: str, version: str) -> Response:
    """Take a deletion back."""

    def change(visitor: Visitor, found: Version, fields: Fields) -> str:
        visitor.platform.retirement.restore(name, found.number, who=visitor.who, why=_why(fields))
        return ""

    return await _changed(request, name, version, change)


@router.post(_ONE + "/trust")
async def trust_version(request: Request, name: str, version: str) -> Response:
    """Have its files registered once more, as trusted: the way that an upload takes, with its scan."""

    def change(visitor: Visitor, found: Version, fields: Fields) -> str:
        _sure(fields)
        if not _why(fields):
            raise InvalidInput("Say why it is trusted.", field="because")
        platform = visitor.platform
        register(
            platform.blobs,
            platform.versions,
            name,
            found.manifest,
            trusted=True,
            because=_why(fields),
            who=visitor.who,
            signing=platform.signing,
            safety=platform.safety,
            project=visitor.by.project,
        )
        platform.reconciler.wake()
        return "#safety"

    return await _changed(request, name, version, change)


@router.post(_ONE + "/deploy")
async def deploy_version(request: Request, name: str, version: str) -> Response:
    """Start the job that brings a version to an endpoint, and show it."""

    def change(visitor: Visitor, found: Version, fields: Fields) -> str:
        endpoint = check_name(fields.get("endpoint", "").strip(), field="endpoint")
        platform = visitor.platform
        platform.admission.may_name(visitor.by, endpoint=endpoint)
        job = platform.deploy.submit(
            DeployParameters(
                endpoint=endpoint,
                model=name,
                version=found.number,
                who=visitor.who,
                project=visitor.by.project,
            )
        )
        platform.runner.wake()
        return f"/jobs/{job.id}"

    return await _changed(request, name, version, change)


async def _changed(
    request: Request, name: str, version: str, change: Callable[[Visitor, Version, Fields], str]
) -> Response:
    """``change``, and then the address that it names (``#part``: of the version's page); when it is refused, the page
    with the reason."""

    def answer(fields: Fields) -> Response:
        visitor = Visitor(request)
        found = visitor.version(check_name(name), parse_which(version))
        try:
            place = change(visitor, found, fields)
        except ModelyardError as error:
            return show(request, name, str(found.number), wrong=error)
        page = f"/models/{name}/versions/{found.number}"
        return RedirectResponse(place if place.startswith("/") else page + place, 303)

    return await changed(request, answer, missing=MISSING)


def _why(fields: Fields) -> str:
    why = fields.get("because", "").strip()
    if len(why) > _WHY or "\0" in why:
        raise InvalidInput(f"A reason is text of {_WHY} characters at most.", field="because")
    return why


def _which(fields: Fields, *known: str) -> str:
    told = fields.get("do", "")
    if told not in known:
        raise InvalidInput(f"Press one of the buttons: {' or '.join(known)}.", field="do")
    return told


def _sure(fields: Fields) -> None:
    if fields.get("sure") != "yes":
        raise InvalidInput("Tick the box that says that you mean it.", field="sure")


def _expected(fields: Fields) -> int:
    """The version that an alias named when the page was made; 0: none."""
    told = fields.get("expected", "")
    if not (told.isascii() and told.isdigit() and len(told) < 11):
        raise InvalidInput("Open the page anew: it does not say where the alias was.", field="expected")
    return int(told)
