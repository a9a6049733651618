"""``/models/…/versions/…``: where a version came from, who signed it, what it is made of, what scanners say of it."""

from fastapi import APIRouter
from msgspec.structs import replace

from modelyard.control.api.common import PREFIX, Caller, Here, NamePath, WhichPath
from modelyard.control.openapi import NounResponse, answers, failures
from modelyard.control.requests import ScanRequest, SignatureRequest
from modelyard.control.sbom import SBOM, SbomResponse, sbom_of_version
from modelyard.core.provenance import Provenance
from modelyard.core.scan import VersionScan
from modelyard.core.signing import FileSignature
from modelyard.registry.quarantine import settle

router = APIRouter(prefix=PREFIX, tags=["models"])
_ONE = "/models/{name}/versions/{version}"


@router.get(
    _ONE + "/provenance",
    responses=answers(list[Provenance], "not_found"),
    response_model=None,
)
def get_provenance(here: Here, name: NamePath, version: WhichPath) -> NounResponse:
    """Where the files of a version came from: each source, uploader and client once, the first one first."""
    found = here.versions.find(name, version)
    return NounResponse(here.versions.provenance(name, found.number))


@router.get(
    _ONE + "/signatures",
    responses=answers(list[FileSignature], "not_found"),
    response_model=None,
)
def list_signatures(here: Here, name: NamePath, version: WhichPath) -> NounResponse:
    """The file signatures of a version, each with what the platform's keys say of it now."""
    return NounResponse(here.signing.signatures(here.versions.find(name, version)))


@router.post(
    _ONE + "/signatures",
    status_code=201,
    responses=answers(FileSignature, "not_found", "rejected_content", "unavailable", status=201),
    response_model=None,
)
def add_signature(
    here: Here, who: Caller, name: NamePath, version: WhichPath, request: SignatureRequest
) -> NounResponse:
    """Keep a file signature that was made elsewhere; refused when it is of other files."""
    found = here.versions.find(name, version)
    return NounResponse(here.signing.add(found, request.bundle, who=who), status_code=201)


@router.get(
    _ONE + "/sbom",
    responses={200: SBOM, **failures("not_found", "unavailable")},
    response_model=None,
    response_class=SbomResponse,
)
def get_sbom(here: Here, name: NamePath, version: WhichPath) -> SbomResponse:
    """What a version is made of (CycloneDX): its files, and the packages of the environment that it last ran in."""
    return SbomResponse(sbom_of_version(here, here.versions.find(name, version)))


@router.get(
    _ONE + "/scan",
    responses=answers(VersionScan, "not_found"),
    response_model=None,
)
def get_scan(here: Here, name: NamePath, version: WhichPath) -> NounResponse:
    """What scanners have said of each file of a version; nothing is looked at for it."""
    return NounResponse(here.safety.seen(here.versions.find(name, version)))


@router.post(
    _ONE + "/scan",
    responses=answers(VersionScan, "not_found", "unavailable"),
    response_model=None,
)
def scan(here: Here, name: NamePath, version: WhichPath, request: ScanRequest) -> NounResponse:
    """Scan a version now; it goes into quarantine, or out of it, by what is found."""
    found = here.versions.find(name, version)
    scanned = here.safety.scan(found, again=request.again)
    settled = settle(here.versions, found, scanned)
    if settled.quarantine != found.quarantine:
        here.reconciler.wake()
    return NounResponse(replace(scanned, quarantine=settled.quarantine))
