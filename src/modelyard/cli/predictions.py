"""``modelyard predict --detach`` and ``modelyard jobs p…``: predictions that nobody waits for."""

import json
import re
from pathlib import Path
from typing import Any

from modelyard.cli.common import client
from modelyard.cli.output import print_facts, print_json, say
from modelyard.cli.ticker import Ticker
from modelyard.client.records import file_of
from modelyard.core.errors import ModelyardError
from modelyard.core.job import PredictionJob

_LOOK_EVERY = 0.5  # seconds between two looks at how far it is


def submit(name: str, record: Any, text: str | None, priority: int | None, *, as_json: bool) -> None:
    """Raises what the node says of the record at once."""
    from modelyard.cli.predict import place_text

    with client() as platform:
        if isinstance(record, list):
            job = platform.submit_batch(name, record, priority=priority)
        else:
            if text is not None:
                record = place_text(platform, name, record, text)
            job = platform.submit(name, record, priority=priority)
    if as_json:
        print_json(job)
    else:
        print(f"The job {job.id} computes it. Its answer: modelyard jobs {job.id}")


def follow(id: str, save: Path | None, *, as_json: bool) -> None:
    """Wait for the end and show the answer. Raises the job's error."""
    from modelyard.cli.predict import show, show_outcomes

    with client() as platform:
        job = platform.prediction_job(id)
        with Ticker(quiet=as_json) as ticker:
            try:
                while not job.over:
                    ticker.show(f"{job.endpoint}: {how_far(job)}")
                    job = platform.prediction_job(id, wait=_LOOK_EVERY)
            except KeyboardInterrupt:
                ticker.__exit__()
                say(f"\nDetached; the job goes on. Its answer: modelyard jobs {id}")
                raise
        answer = platform.result(id, raw=True, wait=False)
    if save is not None:
        _save(answer, save, as_json=as_json)
        return
    if isinstance(answer, list):
        show_outcomes(answer, as_json=as_json)
    elif as_json:
        print_json(answer)
    else:
        print_facts([(output, show(value)) for output, value in answer.items()])


def cancel(id: str, *, as_json: bool) -> None:
    with client() as platform:
        job = platform.cancel_prediction(id)
    if as_json:
        print_json(job)
    elif job.state == "cancelled":
        print(f"The job {id} is cancelled.")
    else:
        print(f"The job {id} was {job.state}; its answer is forgotten.")


def how_far(job: PredictionJob) -> str:
    """Where a job is, in a few words."""
    if job.state == "queued":
        return "queued"
    part = "" if job.progress is None else f"{job.progress:.0%}"
    return " ".join(each for each in (part, job.message) if each) or "running"


def _save(answer: Any, folder: Path, *, as_json: bool) -> None:
    """Each output of each record into a file of its own: bytes and text as they are, anything else as JSON."""
    from modelyard.cli.predict import error_body

    records = answer if isinstance(answer, list) else [answer]
    written: list[str] = []
    for index, record in enumerate(records):
        place = folder / str(index) if isinstance(answer, list) else folder
        place.mkdir(parents=True, exist_ok=True)
        outputs = {"error": error_body(record)} if isinstance(record, ModelyardError) else record
        for name, value in outputs.items():
            path = place / re.sub(r"[^A-Za-z0-9._-]", "_", name).lstrip(".")
            data = file_of(value)
            if data is None:
                path = path.with_name(path.name + ".json")
                data = json.dumps(value, ensure_ascii=False).encode()
            path.write_bytes(data)
            written.append(str(path))
    if as_json:
        print_json({"files": written})
    else:
        for path in written:
            print(path)
