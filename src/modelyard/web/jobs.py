"""A deployment's page: the stages of its job while they are on their way."""

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse, Response

from modelyard.core.job import Job, JobEvent
from modelyard.web.page import or_problem, page
from modelyard.web.visitor import Visitor

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)
_MISSING = "There is no such job"


@router.get("/jobs/{id}")
def show_job(request: Request, id: str) -> Response:
    """One job."""
    return or_problem(request, lambda: _job(request, "job.html", id), missing=_MISSING)


@router.get("/fragment/jobs/{id}")
def refresh_job(request: Request, id: str) -> Response:
    """How far it is, for the page that is open."""
    return or_problem(request, lambda: _job(request, "job_fragment.html", id), missing=_MISSING)


def _job(request: Request, template: str, id: str) -> Response:
    job, events = Visitor(request).job(id)
    return page(request, template, job=job, stages=_stages(job, events))


def _stages(job: Job, events: list[JobEvent]) -> list[dict[str, Any]]:
    """Each stage with its state (waiting, running, done, or how the job ended in it) and what was last said of it."""
    made: list[dict[str, Any]] = []
    for stage in job.stages:
        own = [event for event in events if event.stage == stage]
        kinds = {event.kind for event in own}
        state = "waiting"
        if "stage_done" in kinds:
            state = "done"
        elif own or job.stage == stage:
            state = job.state if job.state in ("failed", "cancelled") else "running"
        messages = [event.message for event in own if event.message]
        made.append({"name": stage, "state": state, "message": messages[-1] if messages else ""})
    return made
