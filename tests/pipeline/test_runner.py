"""The runner with a real database: claims, failures, leases."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from modelyard.core.errors import RejectedContent
from modelyard.deploy.signal import Signal
from modelyard.pipeline.run import Run, Stopped
from modelyard.pipeline.runner import Runner
from modelyard.store.database import Database
from modelyard.store.jobs import Jobs
from modelyard.store.owner import this_process


class Bench:
    def __init__(self, place: Path | str) -> None:
        self.database = Database(place)
        self.database.migrate()
        self.jobs = Jobs(self.database)
        self.changed = Signal()
        self.runners: list[Runner] = []

    def start(self, work: Callable[[Run], dict], owner: str | None = None) -> Runner:
        runner = Runner(
            self.jobs, {"k": work}, owner=owner or this_process(),
            notify=lambda _: self.changed.notify(), changed=self.changed,
        )  # fmt: skip
        self.runners.append(runner)
        runner.start()
        return runner

    def create(self, kind: str = "k") -> str:
        return self.jobs.create(kind, "s", ("one", "two"), {}).id

    def ended(self, id: str) -> str:
        def look() -> str | None:
            state = self.jobs.get(id).state
            return state if state not in ("queued", "running") else None

        return self.changed.until(look, every=0.05)


@pytest.fixture
def bench(place: Path | str) -> Iterator[Bench]:
    bench = Bench(place)
    yield bench
    for runner in bench.runners:
        runner.stop(timeout=60)
    bench.database.close()


def test_a_job_runs_and_its_result_is_kept(bench: Bench) -> None:
    def work(run: Run) -> dict:
        with run.stage("one") as result:
            result["made"] = 1
        return {"answer": 42}

    id = bench.create()
    bench.start(work)
    assert bench.ended(id) == "done"
    assert bench.jobs.get(id).result == {"answer": 42}
    assert [event.kind for event in bench.jobs.events(id, 0)] == ["stage_started", "stage_done", "done"]


def test_an_error_of_ours_is_told_with_its_code(bench: Bench) -> None:
    def work(run: Run) -> dict:
        raise RejectedContent("No.", field="model.onnx")

    id = bench.create()
    bench.start(work)
    assert bench.ended(id) == "failed"
    error = bench.jobs.get(id).error
    assert error is not None and (error["code"], error["field"]) == ("rejected_content", "model.onnx")


def test_any_other_exception_fails_the_job_as_internal(bench: Bench) -> None:
    def work(run: Run) -> dict:
        raise ZeroDivisionError("oops")

    id = bench.create()
    bench.start(work)
    assert bench.ended(id) == "failed"
    error = bench.jobs.get(id).error
    assert error is not None and error["code"] == "internal" and "ZeroDivisionError" in str(error["error"])


def test_a_kind_that_nobody_knows_fails(bench: Bench) -> None:
    id = bench.create("other")
    bench.start(lambda run: {})
    assert bench.ended(id) == "failed"


def test_what_a_stage_brought_is_known_to_the_next_life_of_the_job(bench: Bench) -> None:
    id = bench.create()
    job = bench.jobs.claim(this_process() + "0", 0.0, 1.0)
    assert job is not None
    with Run(job, bench.jobs, this_process() + "0", lambda _: None).stage("one") as result:
        result["made"] = 7
    seen: list[object] = []
    bench.start(lambda run: seen.append(run.brought("one")) or {})
    assert bench.ended(id) == "done"
    assert seen == [{"made": 7}]


def test_a_job_that_is_stopped_goes_on_in_the_next_runner(bench: Bench) -> None:
    entered = threading.Event()

    def waits(run: Run) -> dict:
        entered.set()
        bench.changed.until(lambda: run.check(), every=60)
        return {}

    id = bench.create()
    runner = bench.start(waits)
    assert entered.wait(60)
    runner.stop(timeout=60)
    assert bench.jobs.get(id).state == "queued"
    bench.start(lambda run: {"resumed": True})
    assert bench.ended(id) == "done"


def test_a_job_that_was_lost_to_another_owner_is_let_go_and_not_ended(bench: Bench) -> None:
    id = bench.create()
    job = bench.jobs.claim("other", 0.0, 1e12)
    assert job is not None
    run = Run(job, bench.jobs, "other", lambda _: None)
    assert not bench.jobs.renew(id, "somebody else", 0.0, 1.0)
    run.stop()
    with pytest.raises(Stopped):
        run.check()
    assert not bench.jobs.finish(id, {}, owner="somebody else")
    assert bench.jobs.get(id).state == "running"


def test_a_cancelled_job_ends_as_cancelled_whatever_its_work_returns(bench: Bench) -> None:
    entered, go = threading.Event(), threading.Event()

    def work(run: Run) -> dict:
        entered.set()
        assert go.wait(60)
        return {}

    id = bench.create()
    bench.start(work)
    assert entered.wait(60)
    bench.jobs.cancel(id)
    go.set()
    bench.runners[0].stop(timeout=60)
    assert bench.jobs.get(id).state == "cancelled"
