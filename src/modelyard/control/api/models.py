"""``/models``: models and their versions."""

from fastapi import APIRouter
from starlette.requests import Request

from modelyard.control.admission import require_more
from modelyard.control.answers import ModelAnswer
from modelyard.control.api.common import PREFIX, By, Caller, Here, NamePath, arrival_of
from modelyard.control.openapi import NounResponse, answers, failures
from modelyard.control.requests import VersionRequest
from modelyard.core.model import Model, Version
from modelyard.registry.versions import register

router = APIRouter(prefix=PREFIX, tags=["models"])


@router.get("/models", responses=answers(list[Model]), response_model=None)
def list_models(here: Here, by: By) -> NounResponse:
    """All models, by name."""
    return NounResponse(here.versions.models(project=by.project))


@router.get("/models/{name}", responses=answers(ModelAnswer, "not_found"), response_model=None)
def get_model(here: Here, name: NamePath) -> NounResponse:
    """One model with its versions."""
    model = here.versions.model(name)
    return NounResponse(
        ModelAnswer(
            name=model.name,
            created=model.created,
            latest=model.latest,
            versions=tuple(here.versions.of(name)),
            aliases=here.aliases.list(name),
            project=model.project,
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
def add_version(
    here: Here, by: By, who: Caller, name: NamePath, request: VersionRequest, http: Request
) -> NounResponse:
    """Make a version of an upload whose files have all come; 200 when the model had it already."""
    if request.trust_pickle:
        require_more(by, "To trust what runs code")
    here.admission.see_upload(by, request.upload)
    upload = here.uploads.get(request.upload)
    version, new = register(
        here.blobs,
        here.versions,
        name,
        upload.manifest,
        trusted=request.trust_pickle,
        card=request.card.card() if request.card is not None else None,
        who=who,
        arrival=arrival_of(http, request.provenance),
        signing=here.signing,
        bundle=request.bundle,
        because=request.because,
        safety=here.safety,
        proven=lambda: here.uploads.proven(upload),
        project=by.project,
    )
    here.uploads.delete(request.upload)
    here.janitor.came()
    return NounResponse(version, status_code=201 if new else 200)


@router.delete(
    "/models/{name}",
    status_code=204,
    responses=failures("not_found", "conflict", "unavailable"),
    response_model=None,
)
def delete_model(here: Here, who: Caller, name: NamePath) -> None:
    """Delete a model and its versions; refused while an endpoint uses one of them, or a
    version of another model was made from one."""
    with here.changes:
        here.versions.delete_model(name, who=who)
    here.janitor.wake()
