"""``modelyard jobs``: the latest runs, one run's story, and its end."""

import time

from modelyard.cli.common import client
from modelyard.cli.deploy import show_endpoint
from modelyard.cli.output import print_json, print_table, say
from modelyard.cli.predictions import how_far
from modelyard.client.deploy_flow import raise_failure
from modelyard.client.progress import StageProgress
from modelyard.core.job import Job, JobEvent, PredictionJob
from modelyard.core.units import format_seconds


def list_jobs(state: str | None, limit: int, *, as_json: bool) -> None:
    with client() as platform:
        jobs: list[Job | PredictionJob] = [*platform.jobs(state=state, limit=limit)]
        jobs += platform.prediction_jobs(state=state, limit=limit)
    jobs.sort(key=lambda job: job.created, reverse=True)
    del jobs[limit:]
    if as_json:
        print_json(jobs)
        return
    if not jobs:
        print("No jobs." if state is None else f"No jobs that are {state}.")
        return
    now = time.time()
    print_table(
        ["JOB", "KIND", "SUBJECT", "STATE", "STAGE", "AGE"],
        [[job.id, *_about(job), format_seconds(max(0, now - job.created))] for job in jobs],
    )


def _about(job: Job | PredictionJob) -> list[str]:
    """What it is, of what, how it stands and where it is."""
    if isinstance(job, Job):
        return [job.kind, job.subject, job.state, job.stage or ""]
    return ["predict", job.endpoint, job.state, "" if job.over else how_far(job)]


def cancel(job: str, *, as_json: bool) -> None:
    with client() as platform:
        platform.cancel(job)
    if as_json:
        print_json({"job": job, "cancelled": True})
    else:
        print(f"The job {job} is being cancelled.")


def follow(job: str, *, as_json: bool) -> None:
    """Tell the story to its end; with --json the events as they were, and the job. Raises the job's error."""
    events: list[JobEvent] = []
    with client() as platform:
        found = platform.job(job)
        with StageProgress(quiet=as_json) as progress:

            def on_event(event: JobEvent) -> None:
                events.append(event)
                progress.show(event)

            try:
                ended = platform.follow(found.id, on_event)
            except KeyboardInterrupt:
                progress.__exit__(None, None, None)
                say(f"\nDetached; the job goes on. Follow it again with: modelyard jobs {job}")
                raise
        if as_json:
            print_json({"job": ended, "events": events})
            return
        raise_failure(ended)
        endpoint = ended.parameters.get("endpoint")
        if isinstance(endpoint, str):
            show_endpoint(platform, endpoint, ended.id, ended.updated - ended.created, as_json=False)
