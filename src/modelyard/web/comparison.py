"""Two versions beside each other on a page."""

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse, Response

from modelyard.core.comparison import with_figures
from modelyard.core.errors import InvalidInput
from modelyard.core.names import check_name
from modelyard.core.reference import parse_which
from modelyard.registry.compare import compare
from modelyard.web.model import MISSING
from modelyard.web.page import or_problem, page
from modelyard.web.visitor import Visitor

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)

_CHOICES = 100  # versions to choose from
_CHANGES = 500  # changes of tensors that are shown
_KNOWN = frozenset({"a", "b", "model", "contents"})


@router.get("/models/{name}/compare")
def show_comparison(request: Request, name: str) -> Response:
    """From version ``a`` to version ``b`` (of the model ``model``, where that is another); to choose, without them."""
    return or_problem(request, lambda: _comparison(request, name), missing=MISSING)


def _comparison(request: Request, name: str) -> Response:
    told = {key: value.strip() for key, value in request.query_params.items() if value.strip()}
    for key in told:
        if key not in _KNOWN:
            raise InvalidInput(f"{key[:80]!r} is not asked for here; give a and b.", field=key[:80])
    visitor = Visitor(request)
    other = check_name(told.get("model", name), field="model")
    choices = [row.number for row in visitor.versions(check_name(name), _CHOICES).versions]
    visitor.aliases(name)  # a model that is not there is told before its versions are
    made = None
    sides = []
    if "a" in told and "b" in told:
        sides = [
            visitor.version(name, parse_which(told["a"], field="a")),
            visitor.version(other, parse_which(told["b"], field="b")),
        ]
        before, after = sides
        made = compare(
            before, visitor.files(before), after, visitor.files(after), contents="contents" in told
        )
    cards = [visitor.card(side).card for side in sides]
    if made is not None:
        made = with_figures(made, *cards)
    return page(
        request,
        "comparison.html",
        name=name,
        other=other,
        told=told,
        choices=choices,
        made=made,
        sides=sides,
        cards=cards,
        tensors=made.tensors.changes[:_CHANGES] if made is not None and made.tensors is not None else (),
    )
