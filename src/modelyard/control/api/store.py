"""``/store``: the bytes of all models: what each takes, whether they are right, and the end of those nobody needs."""

from fastapi import APIRouter

from modelyard.control import blobs
from modelyard.control.answers import StoreAnswer, StoreChecked
from modelyard.control.api.common import PREFIX, Here
from modelyard.control.janitor import Collected
from modelyard.control.openapi import NounResponse, answers
from modelyard.control.requests import StoreCheckRequest, StoreCollectRequest

router = APIRouter(prefix=PREFIX, tags=["store"])


@router.get("/store", responses=answers(StoreAnswer, "unavailable"), response_model=None)
def store_usage(here: Here) -> NounResponse:
    """What each model takes, what it has in common with others, and how much of all was read and compared lately."""
    return NounResponse(blobs.usage(here))


@router.post("/store/verify", responses=answers(StoreChecked, "unavailable"), response_model=None)
def verify_store(here: Here, request: StoreCheckRequest) -> NounResponse:
    """Look at the blobs of all versions, for some seconds; ``after`` of the answer is where the next call goes on.
    With ``deep`` every byte is read, with ``repair`` put right what can be."""
    told = blobs.verify(
        here, deep=request.deep, repair=request.repair, after=request.after, seconds=request.seconds
    )
    return NounResponse(told)


@router.post("/store/collect", responses=answers(Collected, "unavailable"), response_model=None)
def collect_store(here: Here, request: StoreCollectRequest) -> NounResponse:
    """Do what the platform does every hour: look at what is new for pieces that are there already, and remove what
    nothing uses."""
    return NounResponse(here.janitor.collect(settle=True))
