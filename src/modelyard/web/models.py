"""The registry browser: models found by words and by what they are."""

from typing import Final, NamedTuple, get_args

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse, Response

from modelyard.core.figure import parse_bound
from modelyard.core.listing import Obstacle, Status
from modelyard.store.facets import Values
from modelyard.web.page import or_problem, page
from modelyard.web.search import Search, read_search
from modelyard.web.visitor import Visitor

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)

_COUNTED: Final = 1000  # more are told as "more than"
_SHOWN: Final = 8  # values of a facet
_PAGE: Final = 30
SORTS: Final = (
    ("newest", "newest first"), ("oldest", "oldest first"), ("name", "by name"), ("-size", "largest files first"),
    ("size", "smallest files first"), ("-parameters", "most parameters first"), ("parameters", "fewest parameters first"),
)  # fmt: skip
BY_FIGURE: Final = (("-metric", "highest {} first"), ("metric", "lowest {} first"))


class Choice(NamedTuple):
    """One value that can be filtered by: the link leads to the search with it, or without it when it is ``chosen``."""

    label: str
    link: str
    chosen: bool
    many: int | None = None


class Facet(NamedTuple):
    """Choices of one kind."""

    title: str
    choices: tuple[Choice, ...]
    more: tuple[Choice, ...] = ()


@router.get("/models")
def show_models(request: Request) -> Response:
    """The models that the address asks for."""
    return or_problem(request, lambda: _models(request), missing="There is nothing of that name")


def _models(request: Request) -> Response:
    visitor, search = Visitor(request), read_search(request.query_params.multi_items())
    wanted = search.query.wanted()
    limit = search.query.limit if search.get("limit") else _PAGE
    found = visitor.search(wanted, limit, search.query.cursor)
    whole = found.next is None and search.query.cursor is None
    count = len(found.versions) if whole else visitor.count(wanted, _COUNTED)
    values = visitor.facets(wanted)
    return page(
        request,
        "models.html",
        search=search,
        versions=found.versions,
        hints=[
            (hint, [(each, search.instead(hint.field, hint.value, each)) for each in hint.there])
            for hint in found.hints
        ],
        obstacles=[
            (each, search.having("all_versions", "true"))
            if each.field == "all_versions"
            else (each, _away(search, each))
            for each in found.obstacles
        ],
        next=None if found.next is None else search.following(found.next),
        found=f"{count:,}" if count <= _COUNTED else f"more than {_COUNTED:,}",
        facets=_facets(search, values),
        measured=[name for name, _ in values.get("metric", ())],
        chosen=[(name, value, search.without(name, value)) for name, value in search.filters],
        sorts=_sorts(search),
        empty=not found.versions and not search.filters and search.query.cursor is None,
    )


def _away(search: Search, obstacle: Obstacle) -> str:
    """The link without it; sizes stand in the address as they were written."""
    if obstacle.field in ("tag", "metric"):
        return search.without(obstacle.field, obstacle.value)
    return search.having(obstacle.field, "")


def _sorts(search: Search) -> list[tuple[str, str]]:
    """The orders that there are; by the first figure that is asked for, too."""
    named = [parse_bound(each).named for each in search.query.metric[:1]]
    return [*SORTS, *((value, label.format(name)) for name in named for value, label in BY_FIGURE)]


def _facets(search: Search, values: Values) -> list[Facet]:
    made = [
        Facet("Status", tuple(_choice(search, "status", each) for each in get_args(Status))),
        Facet(
            "Commercial use",
            (
                _choice(search, "commercial", "true", label="allowed"),
                _choice(search, "commercial", "false", label="not allowed"),
            ),
        ),
    ]
    for name, counted in values.items():
        if name in ("tag", "metric"):
            continue
        every = [_choice(search, name, value, count=count) for value, count in counted]
        shown, more = every[:_SHOWN], every[_SHOWN:]
        given = search.get(name)
        if given and not any(each.chosen for each in shown):
            shown.insert(0, _choice(search, name, given, count=dict(counted).get(given)))
            more = [each for each in more if not each.chosen]
        if shown:
            made.append(Facet(name.capitalize(), tuple(shown), tuple(more)))
    several = (
        _several(search, "Figures", "metric", search.query.metric, dict(values.get("metric", ()))),
        _several(search, "Tags", "tag", search.query.tag, dict(values.get("tag", ()))),
    )
    return made + [each for each in several if each.choices]


def _several(search: Search, title: str, name: str, asked: list[str], counted: dict[str, int]) -> Facet:
    """Those that are asked for, of which all hold, then the most frequent ones."""
    chosen = tuple(Choice(each, search.without(name, each), True, counted.get(each)) for each in asked)
    others = tuple(
        Choice(each, search.adding(name, each), False, count)
        for each, count in counted.items()
        if each not in asked
    )
    return Facet(title, chosen + others[:_SHOWN], others[_SHOWN:])


def _choice(
    search: Search, name: str, value: str, *, label: str | None = None, count: int | None = None
) -> Choice:
    chosen = search.get(name).lower() == value.lower()
    link = search.having(name, "" if chosen else value)
    return Choice(label or value, link, chosen, count)
