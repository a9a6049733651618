"""What may be asked of a deployment over HTTP, and what is refused at once."""

from collections.abc import Callable
from typing import Any

import pytest
from starlette.testclient import TestClient

FILES = {"model.py": b"def predict(x: float) -> float:\n    return x\n"}


@pytest.mark.parametrize(
    ("part", "field"),
    [
        ({"serving": {"max_cost": 0}}, "settings.serving.max_cost"),
        ({"serving": {"max_wait": -0.1}}, "settings.serving.max_wait"),
        ({"serving": {"latency_target": 0}}, "settings.serving.latency_target"),
        ({"serving": {"cache": -1}}, "settings.serving.cache"),
        ({"serving": {"cache": "64MiB"}}, "settings.serving.cache"),
        ({"serving": {"cache_ttl": 0}}, "settings.serving.cache_ttl"),
        ({"serving": {"fallback": "Not a name"}}, "settings.serving.fallback"),
        ({"serving": {"max_bach": 8}}, "settings.serving.max_bach"),
        ({"resources": {"device": "tpu"}}, "settings.resources.device"),
        ({"serving": {"fallback": "e"}}, "settings.serving.fallback"),
        ({"serving": {"fallback": "nobody"}}, "settings.serving.fallback"),
    ],
)
def test_an_option_that_cannot_be_is_refused_with_its_name(
    client: TestClient, upload: Callable[..., str], part: dict[str, Any], field: str
) -> None:
    body = {"endpoint": "e", "upload": upload(client, FILES), "settings": part}
    answer = client.post("/api/v1/deployments", json=body)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_input")
    assert answer.json()["field"] == field


def test_a_job_says_the_options_that_were_given_and_no_other(
    client: TestClient, upload: Callable[..., str]
) -> None:
    given = {"serving": {"cache": 64, "latency_target": 0.02}, "resources": {"device": "cpu"}}
    body = {"endpoint": "e", "upload": upload(client, FILES), "settings": given}
    assert client.post("/api/v1/deployments", json=body).json()["parameters"]["settings"] == given
