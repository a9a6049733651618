"""A required scanner that is away: the deployment waits with its upload, survives a kill, and goes on by itself."""

from collections.abc import Iterator
from typing import Any

import pytest

from modelyard.store.database import Database
from modelyard.store.jobs import Jobs
from support.clamd import Clamd

MODEL = b"def predict(text: str) -> str:\n    return text.upper()\n"


@pytest.fixture
def clamd() -> Iterator[Clamd]:
    made = Clamd()
    yield made
    made.remove()


def test_a_deployment_waits_for_the_scanner_and_goes_on(yard: Any, clamd: Clamd) -> None:
    (yard.home / "modelyard.toml").write_text(f'clamav = "{clamd.address}"\nclamav_required = true\n')
    yard.start("control")
    job = yard.submit("shout", {"model.py": MODEL})

    def warned() -> bool:
        told = yard.api("GET", f"/jobs/{job}").json()
        assert told["state"] in ("queued", "running"), told
        database = Database(yard.home / "modelyard.db")
        events = Jobs(database).events(job, 0)
        database.close()
        return any(event.kind == "warning" and "files wait" in event.message for event in events)

    yard.wait(warned)
    assert yard.api("GET", "/models").json() == []
    direct = yard.http.post(
        f"{yard.url('control')}/api/v1/models/direct/versions",
        json={"upload": yard.upload({"model.py": MODEL})},
    )
    assert direct.status_code == 503 and "Retry-After" in direct.headers
    yard.kill("control")
    yard.start("control")
    yard.wait(lambda: yard.api("GET", f"/jobs/{job}").json()["state"] == "running")
    assert yard.api("GET", "/models").json() == []
    clamd.start()
    yard.wait(lambda: yard.api("GET", "/models").json() != [])
    scan = yard.api("GET", "/models/shout/versions/1/scan").json()
    assert scan["verdict"] == "clean" and scan["quarantine"] is None
    assert {each["scanner"] for each in scan["files"][0]["verdicts"]} == {"clamav", "modelyard"}
    yard.api("POST", f"/jobs/{job}/cancel")
