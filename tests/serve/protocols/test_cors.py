"""Pages of other sites: refused, or let in by a setting; and who calls, by key."""

import hashlib
import json
from collections.abc import Iterator

import pytest

from modelyard.core.errors import InvalidInput
from modelyard.serve.edge.cors import Cors
from support.models import mlp_pool
from support.node import NodeProcess

PAGE = "https://lab.example"
PREFLIGHT = {
    "origin": PAGE,
    "access-control-request-method": "POST",
    "access-control-request-headers": "authorization, content-type",
}


@pytest.fixture(scope="module", params=["with keys", "without"])
def node(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    root = tmp_path_factory.mktemp("cors")
    process = NodeProcess(root / "home", MODELYARD_CORS_ORIGINS=f"{PAGE}, https://other.example:8443")
    keys = (hashlib.sha256(b"secret").hexdigest(),) if request.param == "with keys" else None
    with process.serve(mlp_pool(root / "mlp"), keys=keys):
        yield process


def test_a_browser_may_ask_before_it_calls(node: NodeProcess) -> None:
    status, headers, body = node.call("OPTIONS", "/predict", headers=PREFLIGHT)
    assert (status, body) == (204, b"")
    assert headers["access-control-allow-origin"] == PAGE
    assert headers["access-control-allow-headers"] == "authorization, content-type"
    assert "POST" in headers["access-control-allow-methods"]
    assert headers["vary"] == "Origin"


def test_a_page_that_may_call_can_read_answers_and_errors(node: NodeProcess) -> None:
    for path, wanted in (("/v2/models/mlp", 200), ("/v2/models/nobody", 404)):
        status, headers, _ = node.call(
            "GET", path, headers={"origin": PAGE, "authorization": "Bearer secret"}
        )
        assert (status, headers["access-control-allow-origin"], headers["vary"]) == (wanted, PAGE, "Origin")
        assert "x-request-id" in headers["access-control-expose-headers"]


def test_a_page_that_may_not_call_is_told_nothing(node: NodeProcess) -> None:
    stranger = {"origin": "https://evil.example", "authorization": "Bearer secret"}
    assert node.call("OPTIONS", "/predict", headers=PREFLIGHT | stranger)[0] == 403
    _, headers, _ = node.call("GET", "/v2/models/mlp", headers=stranger)
    assert headers["access-control-allow-origin"] is None


def test_without_the_setting_no_page_of_another_site_calls(many: NodeProcess) -> None:
    assert many.call("GET", "/v2", headers={"origin": PAGE})[0] == 403
    assert many.call("OPTIONS", "/predict", headers=PREFLIGHT)[0] == 403
    assert many.call("GET", "/v2", headers={"origin": "http://localhost:3000"})[0] == 200


def test_star_lets_every_page_in() -> None:
    headers = dict(Cors("*").headers(b"https://anywhere.example"))
    assert headers[b"access-control-allow-origin"] == b"*"


@pytest.mark.parametrize("origins", ["example.com", "https://", "https://a.example/path", "a,b"])
def test_an_origin_that_is_none_is_refused(origins: str) -> None:
    with pytest.raises(InvalidInput):
        Cors(origins)


def test_the_key_stays_needed(tmp_path) -> None:
    keys = (hashlib.sha256(b"secret").hexdigest(),)
    process = NodeProcess(tmp_path / "home", MODELYARD_CORS_ORIGINS=PAGE)
    with process.serve(mlp_pool(tmp_path / "mlp"), keys=keys) as node:
        status, _, body = node.call("GET", "/v2/models/mlp", headers={"origin": PAGE})
        assert (status, json.loads(body)["code"]) == (401, "unauthenticated")
