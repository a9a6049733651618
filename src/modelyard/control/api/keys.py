"""``/keys``: API keys, made, ended, replaced; and ``/me``, who calls."""

from typing import Annotated

from fastapi import APIRouter, Path

from modelyard.control.admission import require_more
from modelyard.control.answers import KeyMade, MeAnswer
from modelyard.control.api.common import PREFIX, By, Caller, Here
from modelyard.control.openapi import NounResponse, answers
from modelyard.control.platform import Platform
from modelyard.control.requests import NAME_PATTERN, KeyRequest, KeyRotation, WhyRequest
from modelyard.core.access import ApiKey
from modelyard.core.errors import InvalidInput

router = APIRouter(prefix=PREFIX, tags=["keys"])
KeyPath = Annotated[str, Path(pattern=NAME_PATTERN, description="its id or its name")]


@router.get("/me", responses=answers(MeAnswer), response_model=None)
def me(here: Here, by: By) -> NounResponse:
    """Who calls, by the key that came with the request."""
    return NounResponse(
        MeAnswer(
            name=by.name,
            role=by.role,
            project=by.project,
            installation=by.installation,
            endpoints=by.endpoints,
            authentication=here.settings.authentication,
        )
    )


@router.get("/keys", responses=answers(list[ApiKey]), response_model=None)
def list_keys(here: Here, by: By) -> NounResponse:
    """All keys that the caller may see, those that have ended too, the oldest first; never a secret."""
    return NounResponse(here.keys.list(by.project))


@router.post(
    "/keys",
    status_code=201,
    responses=answers(KeyMade, "not_found", "conflict", "unavailable", status=201),
    response_model=None,
)
def create_key(here: Here, by: By, who: Caller, request: KeyRequest) -> NounResponse:
    """Make a key; its secret is in this answer and in no other. Without ``admin`` it is of the caller's project, or of
    ``project``."""
    if request.admin:
        require_more(by, "A key that may everything", installation=True)
        if request.project is not None or request.role not in (None, "admin"):
            raise InvalidInput(
                "A key with admin may everything; leave out project and role.", field="admin"
            )
        project, role = None, "admin"
    else:
        project = here.admission.within(by, request.project).into
        role = request.role or ("caller" if request.endpoints else "viewer")
    key, secret = here.keys.create(
        request.name,
        project=project,
        role=role,
        endpoints=request.endpoints,
        expires=_end(here, request.expires_in),
        who=who,
    )
    _changed(here)
    return NounResponse(KeyMade(key=key, secret=secret), status_code=201)


@router.get("/keys/{key}", responses=answers(ApiKey, "not_found"), response_model=None)
def get_key(here: Here, by: By, key: KeyPath) -> NounResponse:
    """One key, by its id or its name."""
    return NounResponse(here.keys.get(key, by.project))


@router.post(
    "/keys/{key}/revoke", responses=answers(ApiKey, "not_found", "unavailable"), response_model=None
)
def revoke_key(here: Here, by: By, who: Caller, key: KeyPath, request: WhyRequest) -> NounResponse:
    """End a key: here at once, on the node within a second. Its name is not given again."""
    revoked = here.keys.revoke(key, by.project, who=who, why=request.because)
    _changed(here)
    return NounResponse(revoked)


@router.post(
    "/keys/{key}/rotate",
    responses=answers(KeyMade, "not_found", "conflict", "unavailable"),
    response_model=None,
)
def rotate_key(here: Here, by: By, who: Caller, key: KeyPath, request: KeyRotation) -> NounResponse:
    """Give a key another secret; the former one opens nothing any more."""
    rotated, secret = here.keys.rotate(key, by.project, expires=_end(here, request.expires_in), who=who)
    _changed(here)
    return NounResponse(KeyMade(key=rotated, secret=secret))


def _end(here: Platform, expires_in: float | None) -> float | None:
    return None if expires_in is None else here.keys.now() + expires_in


def _changed(here: Platform) -> None:
    here.reconciler.wake()
