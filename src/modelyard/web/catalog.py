"""The catalog browser: models that are known, and each of them deployed by its name."""

from typing import Final, get_args
from urllib.parse import urlencode

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from modelyard.analyze.model_yaml import ADAPTERS
from modelyard.catalog.card import card_of
from modelyard.catalog.catalog import Filter, load, memory_of
from modelyard.catalog.entry import Category, Entry, Source, is_runnable
from modelyard.client.options import settings_of
from modelyard.control.api.common import arrival_of
from modelyard.core.errors import InvalidInput, ModelyardError, Unavailable
from modelyard.core.job import Job
from modelyard.core.names import check_name
from modelyard.core.units import parse_bytes
from modelyard.pipeline.parameters import DeployParameters
from modelyard.web.page import changed, or_problem, page
from modelyard.web.visitor import Visitor

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)

_KNOWN: Final = ("text", "category", "commercial", "max_memory", "by_name", "no_gpu")
MISSING: Final = "The catalog has no such entry"
_TICKED: Final = ("commercial", "by_name", "no_gpu")
MEMORIES: Final = ("500MB", "2GB", "8GB", "24GB")


@router.get("/catalog")
def show_catalog(request: Request) -> Response:
    """The entries that the address asks for."""
    return or_problem(request, lambda: _catalog(request))


@router.get("/catalog/{name}")
def show_entry(request: Request, name: str) -> Response:
    """One entry."""
    return or_problem(request, lambda: _entry(request, name), missing=MISSING)


@router.post("/catalog/{name}")
async def deploy_entry(request: Request, name: str) -> Response:
    """Start the job that fetches an entry and brings it to an endpoint, and show it."""

    def deploy(fields: dict[str, str]) -> Response:
        entry = load().get(name[:200])
        try:
            job = _deployed(request, entry, fields.get("endpoint", "").strip())
        except ModelyardError as error:
            return _entry(request, name, wrong=error)
        return RedirectResponse(f"/jobs/{job.id}", 303)

    return await changed(request, deploy, missing=MISSING)


def _deployed(request: Request, entry: Entry, endpoint: str) -> Job:
    """Raises Unavailable for an entry that nothing here runs, Conflict for a name that is taken."""
    if not is_runnable(entry, ADAPTERS):
        raise Unavailable(f"{entry.name!r} cannot be deployed by its name: nothing here runs it yet.")
    check_name(endpoint, field="endpoint")
    visitor = Visitor(request)
    platform, project = visitor.platform, visitor.by.project
    platform.admission.may_name(visitor.by, endpoint=endpoint, model=endpoint)
    is_new = endpoint not in {each.name for each in platform.endpoints.snapshot()[0]}
    job = platform.deploy.submit(
        DeployParameters(
            endpoint=endpoint,
            model=endpoint,
            entry=entry.name,
            settings=settings_of({"python": entry.python, "timeout": entry.timeout if is_new else None}),
            card=card_of(entry),
            who=visitor.who,
            arrival=arrival_of(request, None),
            project=project,
        )
    )
    platform.runner.wake()
    return job


def _catalog(request: Request) -> Response:
    told = {key: value.strip() for key, value in request.query_params.items() if value.strip()}
    wanted = _wanted(told)
    catalog = load()
    found = [
        entry for entry in catalog.find(wanted) if "by_name" not in told or is_runnable(entry, ADAPTERS)
    ]
    groups: dict[str, list[Entry]] = {}
    for entry in found:
        groups.setdefault(entry.category, []).append(entry)

    def link(name: str, value: str) -> str:
        changed = {key: each for key, each in (told | {name: value}).items() if each}
        return f"/catalog?{urlencode(changed)}" if changed else "/catalog"

    return page(
        request,
        "catalog.html",
        told=told,
        groups=dict(sorted(groups.items())),
        count=len(found),
        all=len(catalog.entries),
        unknown=len(catalog.unknown(wanted)),
        categories=catalog.categories(),
        link=link,
        memories=MEMORIES,
        memory_of=memory_of,
        runnable=lambda entry: is_runnable(entry, ADAPTERS),
    )


def _wanted(told: dict[str, str]) -> Filter:
    """Raises InvalidInput for what nothing can be filtered by."""
    for key, value in told.items():
        if key not in _KNOWN:
            raise InvalidInput(
                f"{key[:80]!r} is nothing that the catalog can be filtered by.", field=key[:80]
            )
        if key in _TICKED and value != "true":
            raise InvalidInput(f"{key} is true, or is left out.", field=key)
    category = told.get("category")
    if category is not None and category not in get_args(Category):
        raise InvalidInput(f"There is no category {category[:80]!r} in the catalog.", field="category")
    memory = told.get("max_memory")
    return Filter(
        category=category,
        commercial="commercial" in told,
        no_gpu="no_gpu" in told,
        max_memory=None if memory is None else parse_bytes(memory, field="max_memory"),
        text=told.get("text", "")[:500],
    )


def _entry(request: Request, name: str, *, wrong: ModelyardError | None = None) -> Response:
    """``wrong`` is why the deployment that was asked for was not begun."""
    entry = load().get(name[:200])
    visitor = Visitor(request)
    return page(
        request,
        "entry.html",
        status=200 if wrong is None else wrong.kind.http,
        wrong=wrong,
        endpoint=visitor.endpoint(entry.name),
        entry=entry,
        memory=memory_of(entry),
        runnable=is_runnable(entry, ADAPTERS),
        place=_place(entry.source),
    )


def _place(source: Source) -> tuple[str, str, str | None]:
    """Of what kind a source is, what it is called, and its address where it has one."""
    if source.hub is not None:
        return "Hugging Face hub", source.hub, f"https://huggingface.co/{source.hub}"
    if source.package is not None:
        return "Python package", source.package, None
    if source.git is not None:
        return "git", source.git, source.git
    return "web address", source.url or "", source.url
