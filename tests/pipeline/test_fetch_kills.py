"""kill -9 of the control plane while the source of an entry of the catalog is fetched."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from modelyard.catalog.catalog import load
from support.hub import Hub

ENTRY = load().get("bert-base-ner")  # its repository, in place of which the test has another
LARGE = 1_000_000  # bytes of the file that comes slowly


@pytest.fixture
def hub(scale, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub that has a small model in the place of the entry's, and stops in the middle of a file."""
    made = Hub({str(ENTRY.source.hub): {**scale(2.0), "notes.txt": b"." * LARGE}})
    made.hold_after = LARGE // 2
    with made.serve() as url:
        monkeypatch.setenv("HF_ENDPOINT", url)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
        yield made
        made.go.set()


def press(yard) -> str:
    """Press the button of the entry's page; the job's id."""
    page = yard.http.post(f"{yard.url('control')}/catalog/{ENTRY.name}", data={"endpoint": "e"})
    assert page.status_code == 303, page.text
    return page.headers["location"].removeprefix("/jobs/")


def nothing_is_visible(yard) -> bool:
    return (
        yard.api("GET", "/models").json() == []
        and yard.api("GET", "/versions?all_versions=true").json()["versions"] == []
        and not (yard.home / "catalog" / ENTRY.name).exists()
    )


def test_a_fetch_that_was_killed_goes_on(hub: Hub, running) -> None:
    job = press(running)
    assert hub.held.wait(120), running.logs()
    running.kill("control")
    assert not (running.home / "catalog" / ENTRY.name).exists()
    hub.held.clear()
    running.start("control")
    assert hub.held.wait(120), running.logs()  # it is asked again, and waits again
    now = running.api("GET", f"/jobs/{job}").json()
    assert (now["state"], now["stage"]) == ("running", "fetch")
    assert nothing_is_visible(running)
    hub.go.set()
    ended, events = running.follow(job)
    assert ended["state"] == "done", ended
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    assert [each["number"] for each in running.api("GET", "/versions").json()["versions"]] == [1]
    assert running.predict("e", {"x": [1, 1, 1]}).json()["y"] == [2, 2, 2]
    assert running.api("POST", "/store/verify", json={}).json()["troubles"] == []


def test_a_source_that_is_gone_after_the_kill_fails_clearly_and_a_second_try_succeeds(
    hub: Hub, running
) -> None:
    job = press(running)
    assert hub.held.wait(120), running.logs()
    running.kill("control")
    hub.status = 503
    running.start("control")
    ended, _ = running.follow(job)
    assert ended["state"] == "failed", ended
    assert ended["error"]["code"] == "unavailable" and str(ENTRY.source.hub) in ended["error"]["error"]
    assert nothing_is_visible(running)
    hub.status, hub.hold_after = 0, None
    again = press(running)
    assert again != job
    ended, _ = running.follow(again)
    assert ended["state"] == "done", ended
    assert running.predict("e", {"x": [1, 1, 1]}).json()["y"] == [2, 2, 2]
