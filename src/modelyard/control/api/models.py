"""``/models``: models and their versions."""

from fastapi import APIRouter
from msgspec.structs import replace

from modelyard.control.answers import ModelAnswer
from modelyard.control.api.common import PREFIX, Here, NamePath, NumberPath
from modelyard.control.openapi import NounResponse, answers, failures
from modelyard.control.requests import ScanRequest, VersionRequest
from modelyard.core.model import Model, Version
from modelyard.core.scan import VersionScan
from modelyard.registry.quarantine import settle
from modelyard.registry.versions import register

router = APIRouter(prefix=PREFIX, tags=["models"])


@router.get("/models", responses=answers(list[Model]), response_model=None)
def list_models(here: Here) -> NounResponse:
    """All models, by name."""
    return NounResponse(here.versions.models())


@router.get("/models/{name}", responses=answers(ModelAnswer, "not_found"), response_model=None)
def get_model(here: Here, name: NamePath) -> NounResponse:
    """One model with its versions."""
    model = here.versions.model(name)
    return NounResponse(
        ModelAnswer(
            name=model.name,
            created=model.created,
            latest=model.latest,
            versions=tuple(here.versions.get(name, number) for number in model.versions),
        )
    )


@router.post(
    "/models/{name}/versions",
    status_code=201,
    responses=answers(
        Version, "not_found", "conflict", "rejected_content", "unavailable", status=201, also=(200,)
    ),
    response_model=None,
)
def add_version(here: Here, name: NamePath, request: VersionRequest) -> NounResponse:
    """Make a version of an upload whose files have all come; 200 when the model had it already."""
    manifest = here.uploads.get(request.upload).manifest
    version, new = register(
        here.blobs,
        here.versions,
        name,
        manifest,
        trusted=request.trust_pickle,
        because=request.because,
        safety=here.safety,
    )
    here.uploads.delete(request.upload)
    return NounResponse(version, status_code=201 if new else 200)


@router.get(
    "/models/{name}/versions/{number}", responses=answers(Version, "not_found"), response_model=None
)
def get_version(here: Here, name: NamePath, number: NumberPath) -> NounResponse:
    """One version: its files and what the analysis learnt."""
    return NounResponse(here.versions.get(name, number))


@router.get(
    "/models/{name}/versions/{number}/scan",
    responses=answers(VersionScan, "not_found"),
    response_model=None,
)
def get_scan(here: Here, name: NamePath, number: NumberPath) -> NounResponse:
    """What scanners have said of each file of a version; nothing is looked at for it."""
    return NounResponse(here.safety.seen(here.versions.get(name, number)))


@router.post(
    "/models/{name}/versions/{number}/scan",
    responses=answers(VersionScan, "not_found", "unavailable"),
    response_model=None,
)
def scan(here: Here, name: NamePath, number: NumberPath, request: ScanRequest) -> NounResponse:
    """Scan a version now; it goes into quarantine, or out of it, by what is found."""
    version = here.versions.get(name, number)
    found = here.safety.scan(version, again=request.again)
    settled = settle(here.versions, version, found)
    if settled.quarantine != version.quarantine:
        here.reconciler.wake()
    return NounResponse(replace(found, quarantine=settled.quarantine))


@router.delete(
    "/models/{name}",
    status_code=204,
    responses=failures("not_found", "conflict", "unavailable"),
    response_model=None,
)
def delete_model(here: Here, name: NamePath) -> None:
    """Delete a model and its versions; refused while an endpoint uses one of them."""
    with here.changes:
        here.versions.delete_model(name)
    here.janitor.wake()
