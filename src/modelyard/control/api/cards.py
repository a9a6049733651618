"""``/models/…/card``: what people should know of a model."""

from fastapi import APIRouter

from modelyard.control.api.common import PREFIX, Caller, Here, NamePath, WhichPath
from modelyard.control.openapi import NounResponse, answers
from modelyard.control.requests import CardChange
from modelyard.core.card import CardAnswer

router = APIRouter(prefix=PREFIX, tags=["cards"])


@router.get("/models/{name}/card", responses=answers(CardAnswer, "not_found"), response_model=None)
def get_card(here: Here, name: NamePath) -> NounResponse:
    """The card as it reads for the latest version."""
    return NounResponse(here.cards.get(name))


@router.get(
    "/models/{name}/versions/{version}/card",
    responses=answers(CardAnswer, "not_found"),
    response_model=None,
)
def get_version_card(here: Here, name: NamePath, version: WhichPath) -> NounResponse:
    """The card as it reads for one version: its text may be that version's README."""
    return NounResponse(here.cards.get(name, version))


@router.patch(
    "/models/{name}/card", responses=answers(CardAnswer, "not_found", "unavailable"), response_model=None
)
def change_card(here: Here, who: Caller, name: NamePath, request: CardChange) -> NounResponse:
    """Change what is given; the rest stays. What people say is not filled over by READMEs or the catalog."""
    here.cards.change(name, request.given(), who=who, why=request.because)
    return NounResponse(here.cards.get(name))
