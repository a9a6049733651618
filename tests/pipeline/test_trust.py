"""A pickle that somebody trusts, the whole way: run where it is confined, refused elsewhere, unless it is switched off."""

import pickle
from typing import Any

import pytest
from sklearn.linear_model import LinearRegression

from support import lesser_kernel

MODEL = {"model.pkl": pickle.dumps(LinearRegression().fit([[0.0], [1.0]], [0.0, 2.0]))}


def deploy(yard: Any, **more: Any) -> tuple[dict[str, Any], list[str]]:
    """The job, and what its events warn of."""
    job, events = yard.follow(yard.submit("e", trust_pickle=True, because="it is ours", **more))
    return job, [event.message for event in events if event.kind == "warning"]


def held(yard: Any) -> dict[str, str | None]:
    """What holds the replica of the endpoint."""
    (replica,) = yard.endpoint("e")["replicas"]
    return replica["confinement"]


def test_it_is_refused_where_nothing_holds_it_unless_the_operator_switches_that_off(yard) -> None:
    yard.node = (str(lesser_kernel.__file__), "landlock,seccomp", *yard.node)
    yard.start("node", "control")
    job, warnings = deploy(yard, files=MODEL)
    assert job["state"] == "failed" and warnings == []
    said = job["error"]["error"]
    assert "it cannot hold its files and network" in said and "was let in by trust" in said
    assert "confine = 'off'" in said
    yard.kill("node", "control")
    yard.settings = {"MODELYARD_CONFINE": "off"}
    yard.start("node", "control")
    job, warnings = deploy(yard, files=MODEL)
    assert job["state"] == "done", (job, yard.logs())
    (warning,) = warnings
    assert "Trust let e version 1 in" in warning and "confine is 'off'" in warning
    assert (held(yard)["files"], held(yard)["network"]) == (None, None)
    answer = yard.predict("e", {"features": [1.0]})
    assert answer.json() == {"prediction": pytest.approx(2.0)}


def test_it_runs_confined_and_its_author_opens_no_network(running) -> None:
    job, warnings = deploy(running, files=MODEL | {"model.yaml": b"network: true\n"})
    if job["state"] == "failed" and "cannot confine it" in job["error"]["error"]:
        pytest.skip("this machine cannot hold files and the network")
    assert job["state"] == "done", (job, running.logs())
    (warning,) = warnings
    assert "--network" in warning
    assert held(running)["files"] and held(running)["network"] not in (None, "open")
