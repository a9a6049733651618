"""A deployment's page: the stages of its job while they are on their way."""

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from modelyard.control.api.jobs import cancel
from modelyard.core.job import Job, JobEvent
from modelyard.web.page import changed, or_problem, page
from modelyard.web.visitor import Visitor

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)
_MISSING = "There is no such job"
_TITLES = {
    "fetch": "fetch its files", "register": "analyze and scan", "environment": "Python environment", "start": "start",
    "ready": "first prediction", "route": "traffic",
}  # fmt: skip


@router.get("/jobs/{id}")
def show_job(request: Request, id: str) -> Response:
    """One job."""
    return or_problem(request, lambda: _job(request, "job.html", id), missing=_MISSING)


@router.get("/fragment/jobs/{id}")
def refresh_job(request: Request, id: str) -> Response:
    """How far it is, for the page that is open."""
    return or_problem(request, lambda: _job(request, "job_fragment.html", id), missing=_MISSING)


@router.post("/jobs/{id}/cancel")
async def cancel_job(request: Request, id: str) -> Response:
    """Cancel it, and show how it ended; one that has ended already stays so."""

    def change(_: dict[str, str]) -> Response:
        visitor = Visitor(request)
        if visitor.job(id)[0].state in ("queued", "running"):
            cancel(visitor.platform, id)
        return RedirectResponse(f"/jobs/{id}", 303)

    return await changed(request, change, missing=_MISSING)


def _job(request: Request, template: str, id: str) -> Response:
    job, events = Visitor(request).job(id)
    warnings = [event.message for event in events if event.kind == "warning"]
    return page(request, template, job=job, stages=_stages(job, events), warnings=warnings)


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
        messages = [event.message for event in own if event.message and event.kind != "warning"]
        made.append(
            {"name": _TITLES.get(stage, stage), "state": state, "message": messages[-1] if messages else ""}
        )
    return made
