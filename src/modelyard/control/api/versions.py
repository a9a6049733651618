"""``/versions``: search; and one version of a model: shown, compared, deprecated, deleted, restored."""

from typing import Annotated

from fastapi import APIRouter, Query
from msgspec.structs import replace

from modelyard.control.api.common import PREFIX, By, Caller, Here, NamePath, NumberPath, WhichPath
from modelyard.control.openapi import NounResponse, answers
from modelyard.control.requests import NAME_PATTERN, SearchQuery, WhyField, WhyRequest
from modelyard.core.comparison import Comparison, with_figures
from modelyard.core.listing import Page
from modelyard.core.model import Version
from modelyard.core.reference import parse_which
from modelyard.registry.compare import compare

router = APIRouter(prefix=PREFIX, tags=["versions"])
_ONE = "/models/{name}/versions/{version}"
_NUMBER = "/models/{name}/versions/{number}"


@router.get("/versions", responses=answers(Page, "unavailable"), response_model=None)
def search(here: Here, by: By, query: Annotated[SearchQuery, Query()]) -> NounResponse:
    """The versions that are all that is asked for, a page at a time; ``next`` is the cursor of the following page. A
    page begins behind the last version of the one before, whatever was added or deleted since."""
    wanted = query.wanted()
    if by.project is not None and wanted.project not in (None, by.project):
        return NounResponse(Page(versions=()))
    wanted = replace(wanted, project=by.project or wanted.project)
    return NounResponse(here.listings.search(wanted, query.limit, query.cursor))


@router.get(_ONE, responses=answers(Version, "not_found"), response_model=None)
def get_version(here: Here, name: NamePath, version: WhichPath) -> NounResponse:
    """One version, by its number, an alias, or as ``latest``: its files, what the analysis learnt, what was said of it."""
    return NounResponse(here.versions.find(name, version))


@router.get(_ONE + "/compare", responses=answers(Comparison, "not_found"), response_model=None)
def compare_versions(
    here: Here,
    by: By,
    name: NamePath,
    version: WhichPath,
    to: Annotated[
        str, Query(pattern=NAME_PATTERN, description="the other version: a number, an alias, latest")
    ],
    model: Annotated[
        str | None, Query(pattern=NAME_PATTERN, description="its model, when it is another")
    ] = None,
    contents: Annotated[bool, Query(description="read the tensors, not only their headers")] = False,
) -> NounResponse:
    """What differs from this version to the other: signature, facts, files, and the tensors of formats that tell them."""
    if model is not None:
        here.admission.see_model(by, model)
    before = here.versions.find(name, version)
    after = here.versions.find(model or name, parse_which(to, field="to"))
    before_files, after_files = here.blobs.files(before.manifest), here.blobs.files(after.manifest)
    made = compare(before, before_files, after, after_files, contents=contents)
    cards = [here.cards.get(each.model, each.number).card for each in (before, after)]
    return NounResponse(with_figures(made, *cards))


@router.delete(
    _NUMBER, responses=answers(Version, "not_found", "conflict", "unavailable"), response_model=None
)
def delete_version(
    here: Here, who: Caller, name: NamePath, number: NumberPath, because: Annotated[WhyField, Query()] = ""
) -> NounResponse:
    """Delete a version; it can be restored until the time that it answers with. Refused, with the names of what uses it,
    while an endpoint, an alias, a job or a version made from it does."""
    with here.changes:
        deleted = here.retirement.delete(
            name, number, grace=here.settings.version_grace, who=who, why=because
        )
    here.janitor.wake()
    return NounResponse(deleted)


@router.post(
    _NUMBER + "/restore", responses=answers(Version, "not_found", "unavailable"), response_model=None
)
def restore_version(
    here: Here, who: Caller, name: NamePath, number: NumberPath, request: WhyRequest
) -> NounResponse:
    """Take the deletion of a version back."""
    return NounResponse(here.retirement.restore(name, number, who=who, why=request.because))


@router.put(
    _ONE + "/deprecation", responses=answers(Version, "not_found", "unavailable"), response_model=None
)
def deprecate_version(
    here: Here, who: Caller, name: NamePath, version: WhichPath, request: WhyRequest
) -> NounResponse:
    """Say that nobody should begin to use a version; deploying it warns."""
    return NounResponse(here.retirement.deprecate(name, version, who=who, why=request.because))


@router.delete(
    _ONE + "/deprecation", responses=answers(Version, "not_found", "unavailable"), response_model=None
)
def undeprecate_version(here: Here, who: Caller, name: NamePath, version: WhichPath) -> NounResponse:
    """Take that back."""
    return NounResponse(here.retirement.undeprecate(name, version, who=who))
