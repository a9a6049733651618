"""``/models``: models and their versions."""

from fastapi import APIRouter
from msgspec.structs import replace
from starlette.requests import Request

from modelyard.control.answers import ModelAnswer
from modelyard.control.api.common import PREFIX, Here, NamePath, NumberPath, arrival_of, caller
from modelyard.control.openapi import NounResponse, answers, failures
from modelyard.control.requests import ScanRequest, SignatureRequest, VersionRequest
from modelyard.control.sbom import SBOM, SbomResponse, sbom_of_version
from modelyard.core.model import Model, Version
from modelyard.core.provenance import Provenance
from modelyard.core.scan import VersionScan
from modelyard.core.signing import FileSignature
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
def add_version(here: Here, name: NamePath, request: VersionRequest, http: Request) -> NounResponse:
    """Make a version of an upload whose files have all come; 200 when the model had it already."""
    manifest = here.uploads.get(request.upload).manifest
    version, new = register(
        here.blobs,
        here.versions,
        name,
        manifest,
        trusted=request.trust_pickle,
        arrival=arrival_of(http, request.provenance),
        signing=here.signing,
        because=request.because,
        safety=here.safety,
    )
    here.uploads.delete(request.upload)
    here.janitor.came()
    return NounResponse(version, status_code=201 if new else 200)


@router.get(
    "/models/{name}/versions/{number}", responses=answers(Version, "not_found"), response_model=None
)
def get_version(here: Here, name: NamePath, number: NumberPath) -> NounResponse:
    """One version: its files and what the analysis learnt."""
    return NounResponse(here.versions.get(name, number))


@router.get(
    "/models/{name}/versions/{number}/provenance",
    responses=answers(list[Provenance], "not_found"),
    response_model=None,
)
def get_provenance(here: Here, name: NamePath, number: NumberPath) -> NounResponse:
    """Where the files of a version came from: each source, uploader and client once, the first one first."""
    return NounResponse(here.versions.provenance(name, number))


@router.get(
    "/models/{name}/versions/{number}/signatures",
    responses=answers(list[FileSignature], "not_found"),
    response_model=None,
)
def list_signatures(here: Here, name: NamePath, number: NumberPath) -> NounResponse:
    """The file signatures of a version, each with what the platform's keys say of it now."""
    return NounResponse(here.signing.signatures(here.versions.get(name, number)))


@router.post(
    "/models/{name}/versions/{number}/signatures",
    status_code=201,
    responses=answers(FileSignature, "not_found", "rejected_content", "unavailable", status=201),
    response_model=None,
)
def add_signature(
    here: Here, name: NamePath, number: NumberPath, request: SignatureRequest, http: Request
) -> NounResponse:
    """Keep a file signature that was made elsewhere; refused when it is of other files."""
    version = here.versions.get(name, number)
    return NounResponse(here.signing.add(version, request.bundle, who=caller(http)), status_code=201)


@router.get(
    "/models/{name}/versions/{number}/sbom",
    responses={200: SBOM, **failures("not_found", "unavailable")},
    response_model=None,
    response_class=SbomResponse,
)
def get_sbom(here: Here, name: NamePath, number: NumberPath) -> SbomResponse:
    """What a version is made of (CycloneDX): its files, and the packages of the environment that it last ran in."""
    return SbomResponse(sbom_of_version(here, name, number))


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
