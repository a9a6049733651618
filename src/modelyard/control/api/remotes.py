"""``/remotes``: where calls to an endpoint go beside its deployment, or instead of one."""

from typing import Annotated

from fastapi import APIRouter, Query

from modelyard.control.admission import require_more
from modelyard.control.answers import RemotesAnswer
from modelyard.control.api.common import PREFIX, By, Caller, Here, NamePath
from modelyard.control.openapi import NounResponse, answers, failures
from modelyard.control.platform import Platform
from modelyard.control.remotes import describe, describe_all
from modelyard.control.requests import RemoteRequest, RemotesChange, RemotesRequest
from modelyard.core.access import Principal
from modelyard.core.errors import InvalidInput
from modelyard.core.remotes import RemoteRoute, without
from modelyard.core.routes import Remote
from modelyard.pipeline.options import refuse_while_needed

router = APIRouter(prefix=PREFIX, tags=["remotes"])


@router.get("/remotes", responses=answers(list[RemotesAnswer]), response_model=None)
def list_remotes(here: Here, by: By) -> NounResponse:
    """All endpoints with remotes, the oldest first, and how their remotes are."""
    return NounResponse(describe_all(here, here.node_status(), by))


@router.get("/remotes/{name}", responses=answers(RemotesAnswer, "not_found"), response_model=None)
def get_remotes(here: Here, name: NamePath) -> NounResponse:
    """The remotes of one endpoint, and how they are."""
    return NounResponse(describe(here, name))


@router.put("/remotes/{name}", responses=answers(RemoteRoute, "unavailable"), response_model=None)
def put_remotes(here: Here, by: By, who: Caller, name: NamePath, request: RemotesRequest) -> NounResponse:
    """Set all remotes of an endpoint; those that it had and that are not named go. An endpoint without a
    deployment is served by its remotes alone. None of them needs to answer yet."""
    route = request.route(name)
    for remote in route.remotes:
        _require_plain(by, remote)
    with here.changes:
        route = here.remotes.put(route, who=who, project=by.project)
    _changed(here)
    return NounResponse(route)


@router.post("/remotes/{name}", responses=answers(RemoteRoute, "unavailable"), response_model=None)
def add_remote(here: Here, by: By, who: Caller, name: NamePath, request: RemoteRequest) -> NounResponse:
    """One more remote of an endpoint, or another form of the one with its URL and model."""
    remote = request.remote()
    _require_plain(by, remote)
    with here.changes:
        route = here.remotes.add(name, remote, who=who, project=by.project)
    _changed(here)
    return NounResponse(route)


@router.patch(
    "/remotes/{name}", responses=answers(RemoteRoute, "not_found", "unavailable"), response_model=None
)
def change_remotes(here: Here, who: Caller, name: NamePath, request: RemotesChange) -> NounResponse:
    """How calls are shared with the deployment, and tried again. What is left out stays."""
    with here.changes:
        retry = request.retry.model_dump(exclude_unset=True)
        route = here.remotes.change(name, request.weight, retry, who=who)
    _changed(here)
    return NounResponse(route)


@router.delete(
    "/remotes/{name}",
    status_code=204,
    responses=failures("not_found", "conflict", "unavailable"),
    response_model=None,
)
def delete_remotes(
    here: Here,
    who: Caller,
    name: NamePath,
    url: Annotated[str | None, Query(max_length=2048, description="those at this URL alone")] = None,
    model: Annotated[str | None, Query(max_length=255, description="of these, this model's alone")] = None,
) -> None:
    """Take remotes from an endpoint, all of them unless ``url`` is given; its deployment, if it has one,
    serves alone when none is left. Refused where nothing would serve what is the fallback of another one."""
    if url is None and model is not None:
        raise InvalidInput("Say with url at which remote the model is not to be asked for.", field="url")
    with here.changes:
        left = without(here.remotes.get(name), url, model)
        if not left and all(endpoint.name != name for endpoint in here.endpoints.list()):
            refuse_while_needed(here.endpoints, name)  # nothing would serve it any more
        if url is None:
            here.remotes.delete(name, who=who)
        else:
            here.remotes.remove(name, url, model, who=who)
    _changed(here)


def _require_plain(by: Principal, remote: Remote) -> None:
    """Raises Forbidden for what reaches further than a project: a secret of the node's, a socket of its machine."""
    if remote.key_variable is not None:
        require_more(by, "To send a secret of the node's environment to a remote", installation=True)
    if remote.url.startswith("unix:"):
        require_more(by, "A remote at a socket of this machine", installation=True)


def _changed(here: Platform) -> None:
    here.changed.notify()
    here.reconciler.wake()
