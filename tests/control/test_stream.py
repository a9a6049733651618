"""A job's story as a stream, over a real socket."""

import threading
import time
from collections.abc import Iterator

import httpx
import msgspec
import pytest
import uvicorn

from modelyard.control.api import jobs as jobs_api
from modelyard.control.app import create_app
from modelyard.control.platform import Platform
from modelyard.core.job import JobEvent
from modelyard.core.settings import Settings
from support.node import wait_until


class Here:
    """The app on a real socket in this process, so that both sides can be looked at."""

    def __init__(self, settings: Settings) -> None:
        self.app = create_app(settings)
        self.platform: Platform = self.app.state.platform
        self.platform.runner.wake = lambda: None  # type: ignore[method-assign]
        self.server = uvicorn.Server(
            uvicorn.Config(self.app, port=0, log_config=None, timeout_graceful_shutdown=2)
        )
        self.thread = threading.Thread(target=self.server.run)
        self.thread.start()
        while not self.server.started:
            time.sleep(0.01)
        port = self.server.servers[0].sockets[0].getsockname()[1]
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{port}/api/v1", timeout=60)

    def job(self) -> str:
        """A running job that this test tells the story of."""
        jobs = self.platform.jobs
        self.platform.runner.stop(timeout=60)
        id = jobs.create("story", "s", ("one",), {}).id
        assert jobs.claim("the test", time.time(), 600) is not None
        return id

    def tell(self, id: str, message: str) -> None:
        self.platform.jobs.event(id, "progress", "one", message)
        self.platform.hub.publish(id)


@pytest.fixture
def here(settings: Settings) -> Iterator[Here]:
    here = Here(settings)
    yield here
    here.http.close()
    # A connection that the server has not seen closing would outlive its loop.
    wait_until(lambda: not here.server.server_state.connections, what="the end of all connections")
    here.server.should_exit = True
    here.thread.join(60)
    assert not here.thread.is_alive()


def events(lines: Iterator[str]) -> Iterator[JobEvent]:
    for line in lines:
        if line.startswith("data: "):
            yield msgspec.json.decode(line.removeprefix("data: "), type=JobEvent)


def test_events_come_as_they_happen_and_the_stream_ends_with_the_job(here: Here) -> None:
    id = here.job()
    here.tell(id, "before")
    with here.http.stream("GET", f"/jobs/{id}/events") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        told = events(stream.iter_lines())
        assert next(told).message == "before"
        here.tell(id, "while following")
        assert next(told).message == "while following"
        here.platform.jobs.finish(id, {"answer": 1})
        here.platform.hub.publish(id)
        assert [event.kind for event in told] == ["done"]


def test_a_follower_that_leaves_leaves_nothing_running(here: Here) -> None:
    id = here.job()
    here.tell(id, "one")
    with here.http.stream("GET", f"/jobs/{id}/events") as stream:
        lines = stream.iter_lines()  # kept: its end would be the stream's
        next(lines)
        wait_until(lambda: here.platform.hub.followers == 1, what="the follower being counted")
    wait_until(lambda: here.platform.hub.followers == 0, what="the follower's end")


def test_a_silent_stream_is_kept_alive(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs_api, "HEARTBEAT", 0.02)
    with here.http.stream("GET", f"/jobs/{here.job()}/events") as stream:
        assert next(stream.iter_lines()).startswith(":")


def test_a_job_that_does_not_exist_is_not_found(here: Here) -> None:
    assert here.http.get("/jobs/none/events").status_code == 404
