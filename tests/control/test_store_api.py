"""The API of the store: usage, checks in steps, collecting."""

import time
from typing import Any

import msgspec

from modelyard.control import janitor
from modelyard.store.shared_clock import SharedClock
from support import weights
from support.node import wait_until
from support.stores import damage, put

WHOLE = weights.tensors(1, rows=1024)


def _versions(client: Any) -> Any:
    from modelyard.core.model import Analysis

    platform = client.app.state.platform
    wait_until(
        lambda: platform.janitor.turns, what="the janitor's first turn, which would look at these too"
    )
    analysis = Analysis(format="safetensors", adapter="transformers")
    for name, data in (("base", WHOLE), ("tuned", weights.tuned(WHOLE, 1))):
        with platform.blobs.referring():
            manifest = put(platform.blobs, {"model.safetensors": weights.safetensors(data)}, settle=False)
            platform.versions.add(name, manifest, analysis, False)
    return platform


def test_a_sibling_shares_what_it_has_in_common_once_it_was_looked_at(client: Any) -> None:
    assert client.get("/api/v1/store").json()["models"] == []
    platform = _versions(client)
    told = client.post("/api/v1/store/collect", json={}).json()
    assert told["settled"] == 2
    assert client.post("/api/v1/store/collect", json={}).json()["settled"] == 0
    used = client.get("/api/v1/store").json()
    assert {each["model"] for each in used["models"]} == {"base", "tuned"}
    assert used["stored"] < 0.65 * used["logical"]
    assert used["place"] == str(platform.home.blobs.absolute())


def test_a_check_names_the_files_that_are_damaged_and_goes_on_where_it_stopped(client: Any) -> None:
    platform = _versions(client)
    client.post("/api/v1/store/collect", json={})
    assert client.post("/api/v1/store/verify", json={"deep": True}).json()["troubles"] == []
    digest = platform.versions.get("base", 1).manifest.files[0].sha256
    damage(platform.blobs.path(digest), 3_000_000)
    found, after = [], ""
    while after is not None:
        asked = {"deep": True, "after": after, "seconds": 0}
        told = client.post("/api/v1/store/verify", json=asked).json()
        assert (told["blobs"], told["all_blobs"]) == (1, 2)
        found += told["troubles"]
        after = told["after"]
    assert {name for each in found for name in each["used_by"]} == {
        "base/1/model.safetensors",
        "tuned/1/model.safetensors",
    }
    assert not any(each["repaired"] for each in found)


def test_nonsense_is_refused(client: Any) -> None:
    for wrong in ({"after": "x"}, {"deep": 1}, {"seconds": -1}, {"thorough": True}):
        assert client.post("/api/v1/store/verify", json=wrong).status_code == 400
    assert client.post("/api/v1/store/collect", json={"all": True}).status_code == 400


def test_the_base_of_a_sibling_is_deleted_and_the_sibling_stays(client: Any) -> None:
    platform = _versions(client)
    client.post("/api/v1/store/collect", json={})
    platform.versions.delete_model("base")
    client.post("/api/v1/store/collect", json={})
    assert client.post("/api/v1/store/verify", json={"deep": True}).json()["troubles"] == []
    (file,) = platform.versions.get("tuned", 1).manifest.files
    wanted = weights.safetensors(weights.tuned(WHOLE, 1))
    assert platform.blobs.path(file.sha256).read_bytes() == wanted
    platform.versions.delete_model("tuned")
    client.post("/api/v1/store/collect", json={})
    assert client.get("/api/v1/store").json()["stored"] == 0


def test_what_nobody_used_for_long_is_kept_smaller(client: Any, monkeypatch: Any) -> None:
    platform = _versions(client)
    assert client.post("/api/v1/store/collect", json={}).json()["cooled"] == 0
    before = client.get("/api/v1/store").json()["stored"]
    later = time.time() + platform.settings.cold_after + 1
    monkeypatch.setattr(janitor.time, "time", lambda: later)
    assert platform.janitor.collect(settle=True).cooled == 1  # the base; the other has only pieces
    assert client.get("/api/v1/store").json()["stored"] < 0.9 * before
    assert client.post("/api/v1/store/verify", json={"deep": True}).json()["troubles"] == []


def _in_a_month(platform: Any, monkeypatch: Any) -> None:
    """All that came is due, and is read at once."""
    platform.settings = msgspec.structs.replace(platform.settings, scrub_rate="1GB")
    later = time.time() + platform.settings.scrub_after + 60
    monkeypatch.setattr(SharedClock, "__call__", lambda clock: later)


def test_what_was_read_again_and_what_is_wrong_since_is_told(client: Any, monkeypatch: Any) -> None:
    platform = _versions(client)
    client.post("/api/v1/store/collect", json={})
    before = client.get("/api/v1/store").json()
    assert before["checked"]["bytes"] == before["logical"]
    digest = platform.versions.get("base", 1).manifest.files[0].sha256
    damage(platform.blobs.path(digest), 3_000_000)
    _in_a_month(platform, monkeypatch)
    assert client.get("/api/v1/store").json()["checked"]["bytes"] == 0
    assert platform.janitor.scrubber.turn() == 2
    assert platform.janitor.scrubber.turn() == 0
    told = client.get("/api/v1/store").json()["checked"]
    assert (told["bytes"], told["within"]) == (before["logical"], platform.settings.scrub_after)
    assert {name for each in told["troubles"] for name in each["used_by"]} == {
        "base/1/model.safetensors",
        "tuned/1/model.safetensors",
    }
    entries = client.get("/api/v1/audit").json()
    assert {each["subject"] for each in entries if each["what"] == "blob.damaged"} == {"base/1", "tuned/1"}
    damage(platform.blobs.path(digest), 3_000_000)  # the bit as it was
    assert client.post("/api/v1/store/verify", json={"deep": True}).json()["troubles"] == []
    assert client.get("/api/v1/store").json()["checked"]["troubles"] == []


def test_only_the_eldest_home_that_lives_reads_again(client: Any, monkeypatch: Any) -> None:
    platform = _versions(client)
    _in_a_month(platform, monkeypatch)
    alone = platform.id is None  # in a database of its own
    with monkeypatch.context() as patch:
        patch.setattr(platform.homes, "eldest", lambda: "another")
        assert platform.janitor.scrubber.turn() == (2 if alone else 0)
    assert alone or platform.homes.eldest() == platform.id
    assert platform.janitor.scrubber.turn() == (0 if alone else 2)
