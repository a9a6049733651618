"""Predictions that a client does not wait for, against a real HTTP server, blocking and awaited."""

import json
from typing import Any

import numpy
import pytest

from modelyard.core.errors import Conflict, Deadline, InvalidInput
from modelyard.core.job import PredictionJob

from .conftest import Script
from .test_clients import METADATA, client  # noqa: F401 (a fixture)

JOB = {"id": "p1", "endpoint": "m", "path": "/models/m/predict", "state": "running", "created": 1.0}
DONE = {**JOB, "state": "done", "status": 200, "progress": 1.0}


def test_a_record_is_submitted_and_its_answer_fetched(client: Any, script: Script) -> None:  # noqa: F811
    script.answer("POST", "/models/m/predict", {**JOB, "url": "/jobs/p1", "more": 1}, status=202)
    script.answer("GET", "/jobs/p1", JOB)
    script.answer("GET", "/jobs/p1", JOB)
    script.answer("GET", "/jobs/p1?wait=20.000", DONE)
    script.answer("GET", "/jobs/p1/result", {"y": [0.5]}, headers={"modelyard-version": "1"})
    script.answer("GET", "/v2/models/m", METADATA)
    job = client.submit("m", x=numpy.array([1], "int8"), priority=3)
    assert isinstance(job, PredictionJob)
    assert (job.id, job.state) == ("p1", "running")
    asked = next(request for request in script.requests if request[0] == "POST")
    assert (asked[3]["prefer"], asked[3]["modelyard-priority"]) == ("respond-async", "3")
    assert json.loads(asked[2]) == {"x": [1]}
    answer = client.result("p1")
    assert answer["y"].dtype == numpy.float32


def test_a_batch_gives_each_record_its_own_outcome(client: Any, script: Script) -> None:  # noqa: F811
    batch = {**DONE, "path": "/models/m/predict/batch"}
    script.answer("POST", "/models/m/predict/batch", batch, status=202)
    script.answer("GET", "/jobs/p1", batch)
    bad = {"error": "no", "code": "invalid_input", "field": "x"}
    script.answer("GET", "/jobs/p1/result", {"predictions": [{"y": [1.0]}, bad]})
    assert client.submit_batch("m", [{"x": 1}, {"x": "a"}]).id == "p1"
    good, failed = client.result("p1", raw=True)
    assert good == {"y": [1.0]}
    assert isinstance(failed, InvalidInput)


def test_a_job_that_failed_raises_its_error(client: Any, script: Script) -> None:  # noqa: F811
    script.answer("GET", "/jobs/p1", {**JOB, "state": "failed", "status": 400})
    script.answer(
        "GET", "/jobs/p1/result", {"error": "no", "code": "invalid_input", "field": "x"}, status=400
    )
    with pytest.raises(InvalidInput, match="no"):
        client.result("p1")


def test_one_that_has_not_ended_is_not_waited_for_without_end(client: Any, script: Script) -> None:  # noqa: F811
    script.answer("GET", "/jobs/p1", JOB)
    script.answer("GET", "/jobs/p1/result", {"error": "not yet", "code": "conflict"}, status=409)
    with pytest.raises(Conflict, match="not yet"):
        client.result("p1", wait=False)
    with pytest.raises(Deadline, match="goes on"):
        client.result("p1", timeout=0.0)


def test_they_are_listed_and_cancelled(client: Any, script: Script) -> None:  # noqa: F811
    script.answer("GET", "/jobs?endpoint=m&limit=50", {"jobs": [DONE, JOB]})
    script.answer("DELETE", "/jobs/p1", {**JOB, "state": "cancelled"})
    assert [job.state for job in client.prediction_jobs("m")] == ["done", "running"]
    assert client.cancel_prediction("p1").state == "cancelled"
