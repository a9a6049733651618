"""The registry browser: models found by words and by what they are."""

from typing import Final, NamedTuple, get_args

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse, Response

from modelyard.core.listing import Status
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
    return page(
        request,
        "models.html",
        search=search,
        versions=found.versions,
        hints=[
            (hint, [(each, search.instead(hint.field, hint.value, each)) for each in hint.there])
            for hint in found.hints
        ],
        next=None if found.next is None else search.following(found.next),
        found=f"{count:,}" if count <= _COUNTED else f"more than {_COUNTED:,}",
        facets=_facets(visitor, search),
        chosen=[(name, value, search.without(name, value)) for name, value in search.filters],
        sorts=SORTS,
        empty=not found.versions and not search.filters and search.query.cursor is None,
    )


def _facets(visitor: Visitor, search: Search) -> list[Facet]:
    values = visitor.facets(search.query.wanted())
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
        if name == "tag":
            continue
        every = [_choice(search, name, value, count=count) for value, count in counted]
        shown, more = every[:_SHOWN], every[_SHOWN:]
        given = search.get(name)
        if given and not any(each.chosen for each in shown):
            shown.insert(0, _choice(search, name, given, count=dict(counted).get(given)))
            more = [each for each in more if not each.chosen]
        if shown:
            made.append(Facet(name.capitalize(), tuple(shown), tuple(more)))
    tags = _tags(search, dict(values.get("tag", ())))
    if tags.choices:
        made.append(tags)
    return made


def _tags(search: Search, counted: dict[str, int]) -> Facet:
    """Those that are asked for, of which all hold, then the most frequent ones."""
    asked = list(search.query.tag)
    chosen = tuple(Choice(tag, search.without("tag", tag), True, counted.get(tag)) for tag in asked)
    others = tuple(
        Choice(tag, search.adding("tag", tag), False, count)
        for tag, count in counted.items()
        if tag not in asked
    )
    return Facet("Tags", chosen + others[:_SHOWN], others[_SHOWN:])


def _choice(
    search: Search, name: str, value: str, *, label: str | None = None, count: int | None = None
) -> Choice:
    chosen = search.get(name).lower() == value.lower()
    link = search.having(name, "" if chosen else value)
    return Choice(label or value, link, chosen, count)
