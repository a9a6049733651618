"""Scans in a deployment's life: it waits for a scanner that is required, and a version that turns bad is stopped."""

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


@pytest.mark.parametrize("policy", ["tell", "stop"])
def test_a_version_that_turns_bad_is_told_or_stopped(yard: Any, clamd: Clamd, policy: str) -> None:
    clamd.start()
    (yard.home / "modelyard.toml").write_text(f'clamav = "{clamd.address}"\nscan_policy = "{policy}"\n')
    yard.start("node", "control")
    yard.deploy("shout", {"model.py": MODEL})
    assert yard.predict("shout", {"text": "a"}).status_code == 200
    clamd.sign("own.ndb", "Own-Test:0:*:" + b"text.upper()".hex())
    clamd.stop()
    clamd.start()
    scan = yard.api("POST", "/models/shout/versions/1/scan", json={"again": True}).json()
    assert scan["verdict"] == "malicious" and "Own-Test" in scan["quarantine"]
    if policy == "stop":
        yard.wait(lambda: yard.predict("shout", {"text": "a"}).status_code >= 400)
        yard.wait(lambda: yard.endpoint("shout")["state"] == "failed")
    else:
        assert yard.predict("shout", {"text": "a"}).status_code == 200
        assert yard.endpoint("shout")["state"] == "ready"
    assert "is in quarantine" in yard.endpoint("shout")["failure"]
    refused, _ = yard.follow(yard.submit("shout", version=1))
    assert refused["state"] == "failed" and "in quarantine" in refused["error"]["error"]
    good = MODEL.replace(b"upper", b"lower")
    assert yard.deploy("shout", {"model.py": good})["version"] == 2
    yard.wait(lambda: yard.predict("shout", {"text": "A"}).status_code == 200)
    assert yard.endpoint("shout")["state"] == "ready"
