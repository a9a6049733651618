"""``/models/…/lineage``: what versions were made from."""

from fastapi import APIRouter

from modelyard.control.api.common import PREFIX, By, Caller, Here, NamePath, WhichPath
from modelyard.control.openapi import NounResponse, answers
from modelyard.control.requests import ParentRequest
from modelyard.core.history import LineageNode
from modelyard.core.model import Version
from modelyard.core.reference import parse_which

router = APIRouter(prefix=PREFIX, tags=["lineage"])
_ONE = "/models/{name}/versions/{version}"


@router.get(_ONE + "/lineage", responses=answers(list[LineageNode], "not_found"), response_model=None)
def get_lineage(here: Here, name: NamePath, version: WhichPath) -> NounResponse:
    """The whole tree of versions made from each other that this one stands in, the root first."""
    return NounResponse(here.lineage.tree(name, version))


@router.put(
    _ONE + "/parent",
    responses=answers(Version, "not_found", "conflict", "unavailable"),
    response_model=None,
)
def set_parent(
    here: Here, by: By, who: Caller, name: NamePath, version: WhichPath, request: ParentRequest
) -> NounResponse:
    """Say what a version was made from, in place of what was said before."""
    here.admission.see_model(by, request.model)
    which = parse_which(request.version) if isinstance(request.version, str) else request.version
    here.lineage.set(
        (name, version),
        (request.model, which),
        request.relation,
        tradeoff=request.tradeoff,
        who=who,
        why=request.because,
    )
    return NounResponse(here.versions.find(name, version))


@router.delete(
    _ONE + "/parent", responses=answers(Version, "not_found", "unavailable"), response_model=None
)
def remove_parent(here: Here, who: Caller, name: NamePath, version: WhichPath) -> NounResponse:
    """Forget what a version was made from."""
    here.lineage.remove(name, version, who=who)
    return NounResponse(here.versions.find(name, version))
