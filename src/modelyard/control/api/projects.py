"""``/projects``: named groups of models and all that belongs to them; and the move of a model from one to another."""

from typing import Annotated

from fastapi import APIRouter, Query

from modelyard.control.answers import ModelMoved
from modelyard.control.api.common import PREFIX, By, Caller, Here, NamePath
from modelyard.control.openapi import NounResponse, answers, failures
from modelyard.control.requests import ProjectMove, ProjectRequest, WhyField
from modelyard.core.access import Project

router = APIRouter(prefix=PREFIX, tags=["projects"])


@router.get("/projects", responses=answers(list[Project]), response_model=None)
def list_projects(here: Here, by: By) -> NounResponse:
    """The projects that the caller sees, and how much is in each."""
    return NounResponse([each for each in here.projects.list() if by.sees(each.name)])


@router.post(
    "/projects",
    status_code=201,
    responses=answers(Project, "conflict", "unavailable", status=201),
    response_model=None,
)
def create_project(here: Here, who: Caller, request: ProjectRequest) -> NounResponse:
    """Make a project."""
    return NounResponse(here.projects.create(request.name, who=who, why=request.because), status_code=201)


@router.get("/projects/{name}", responses=answers(Project, "not_found"), response_model=None)
def get_project(here: Here, name: NamePath) -> NounResponse:
    """One project, and how much is in it."""
    return NounResponse(here.projects.get(name))


@router.delete(
    "/projects/{name}",
    status_code=204,
    responses=failures("not_found", "conflict", "unavailable"),
    response_model=None,
)
def delete_project(
    here: Here, who: Caller, name: NamePath, because: Annotated[WhyField, Query()] = ""
) -> None:
    """Delete an empty project. Refused, with what is in it, while something is."""
    here.projects.delete(name, who=who, why=because)


@router.put(
    "/models/{name}/project",
    responses=answers(ModelMoved, "not_found", "conflict", "unavailable"),
    response_model=None,
)
def move_model(here: Here, who: Caller, name: NamePath, request: ProjectMove) -> NounResponse:
    """Move a model to another project, with the endpoints that it is deployed to. Refused while it is bound to what
    would stay behind."""
    with here.changes:
        endpoints = here.projects.move(name, request.project, who=who, why=request.because)
    here.changed.notify()
    here.reconciler.wake()
    return NounResponse(ModelMoved(model=name, project=request.project, endpoints=tuple(endpoints)))
