"""What nothing uses any more is collected; what something uses is not."""

import io
import os

import joblib
import numpy as np

from modelyard.control import doctor
from modelyard.core.settings import Home


def folders(yard) -> set[str]:
    return {path.name for path in (yard.home / "versions").iterdir()}


def blobs(yard) -> list[str]:
    """Their names; a folder may go away while it is looked through."""
    return [name for _, _, names in os.walk(yard.home / "blobs") for name in names if len(name) == 64]


def test_deleting_endpoint_and_model_gives_their_space_back(running, scale, function) -> None:
    running.deploy("m", scale(2.0))
    running.deploy("f", function("return x"))
    kept = {running.api("GET", "/models/f/versions/1").json()["digest"]}
    running.api("DELETE", "/endpoints/m")
    running.api("DELETE", "/models/m")
    running.wait(lambda: folders(running) == kept)
    running.wait(lambda: len(blobs(running)) == 1)
    assert running.predict("f", {"x": 1.0}).status_code == 200


def test_a_home_after_kills_and_a_restart_has_nothing_that_doctor_finds(running, scale) -> None:
    running.deploy("m", scale(2.0))
    job = running.submit("m", scale(3.0))
    running.kill("control", "node")
    running.start("node", "control")
    running.follow(job)
    running.stop()
    assert doctor.examine(Home(running.home), thorough=True) == []


def test_the_control_plane_at_its_start_keeps_what_is_in_use(running, scale) -> None:
    running.deploy("m", scale(2.0))
    before = folders(running)
    running.kill("control")
    running.start("control")
    running.wait(lambda: running.endpoint("m")["state"] == "ready")
    assert folders(running) == before
    assert running.predict("m", {"x": [1, 1, 1]}).status_code == 200


def test_a_signature_that_only_loading_could_tell_is_learnt(running) -> None:
    from sklearn.linear_model import LogisticRegression

    buffer = io.BytesIO()
    joblib.dump(LogisticRegression().fit(np.eye(3)[:2], [0, 1]), buffer)
    files = {"model.joblib": buffer.getvalue()}
    running.deploy("c", files, trust_pickle=True)
    version = running.wait(
        lambda: (v := running.api("GET", "/models/c/versions/1").json())["analysis"]["signature"] and v
    )
    assert version["analysis"]["signature"]["inputs"]
    replica = running.endpoint("c")["replicas"][0]
    assert replica["restarts"] == 0
    assert running.api("GET", "/endpoints/c").json()["endpoint"]["serving"] is not None
