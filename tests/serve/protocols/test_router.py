"""Who calls, and by which path: what the router decides before a protocol sees a request."""

import hashlib

import pytest

from modelyard.core.errors import InvalidInput, Unauthenticated
from modelyard.core.routes import RouteTable
from modelyard.serve.dataplane import Dataplane
from modelyard.serve.http import Request
from modelyard.serve.observe.metrics import NodeCollector
from modelyard.serve.protocols import Router
from modelyard.serve.protocols.invocations import aliases
from modelyard.serve.protocols.options import options_of

KEY = "a-key"
DIGEST = hashlib.sha256(KEY.encode()).hexdigest()


def router(keys: tuple[str, ...] | None, **options: object) -> Router:
    plane = Dataplane(NodeCollector(list))
    plane.table = RouteTable(keys=keys)
    return Router(plane, None, lambda: b"", **options)  # type: ignore[arg-type]


def request(path: str = "/predict", **headers: str) -> Request:
    told = {name.replace("_", "-").encode(): value.encode() for name, value in headers.items()}
    return Request("POST", path, "", told, "r")


def test_who_has_a_key_is_known_by_the_beginning_of_its_digest() -> None:
    call = request(authorization=f"Bearer {KEY}", modelyard_client="somebody-else")
    router((DIGEST,)).admit(call)
    assert options_of(call).client == DIGEST[:16]


def test_without_keys_a_caller_says_who_it_is() -> None:
    call = request(host="localhost:8701", modelyard_client="team-a")
    router(None).admit(call)
    assert options_of(call).client == "team-a"


def test_probes_need_no_key_and_all_else_does() -> None:
    node = router((DIGEST,), aliases={"/alive": "/ping", "/mine": "/invocations"})
    for path in ("/health", "/ready", "/ping", "/alive", "/v2/health/live"):
        node.admit(request(path))
    for path in ("/predict", "/metrics", "/mine", "/invocations", "/v1/models", "/v2/repository/index"):
        with pytest.raises(Unauthenticated):
            node.admit(request(path))


def test_metrics_ask_for_none_where_somebody_said_so() -> None:
    router((DIGEST,), open_metrics=True).admit(request("/metrics"))
    with pytest.raises(Unauthenticated):
        router((DIGEST,), open_metrics=True).admit(request("/models"))


def test_vertex_names_its_paths() -> None:
    environment = {"AIP_HEALTH_ROUTE": "/v1/alive", "AIP_PREDICT_ROUTE": "/v1/go", "OTHER": "/x"}
    assert aliases(environment) == {"/v1/alive": "/ping", "/v1/go": "/invocations"}
    assert aliases({}) == {}
    for wrong in ("predict", "/node/routes"):
        with pytest.raises(InvalidInput):
            aliases({"AIP_PREDICT_ROUTE": wrong})
