"""The registry through both clients, against a control plane of its own process."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from modelyard.client import AsyncClient, Client
from modelyard.core.errors import Conflict, InvalidInput, NotFound
from modelyard.core.listing import Wanted


class Blocking:
    """Gives the awaited registry the face of the blocking one."""

    def __init__(self, url: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._client = AsyncClient(url)

    @property
    def registry(self) -> "Blocking":
        return self

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client.registry, name)
        return lambda *arguments, **options: self._loop.run_until_complete(method(*arguments, **options))

    def close(self) -> None:
        self._loop.run_until_complete(self._client.close())
        self._loop.close()


@pytest.fixture(params=[Client, Blocking], ids=["blocking", "awaited"])
def registry(request: pytest.FixtureRequest, start: Callable[..., Any], upload: Any) -> Iterator[Any]:
    control = start().wait()
    for number in (1, 2):
        files = {"model.py": b"def predict(x):\n    return x * %d\n" % number, "README.md": b"# About"}
        made = control.http.post(
            "/api/v1/models/fraud/versions", json={"upload": upload(control.http, files)}
        )
        assert made.status_code == 201, made.text
    client = request.param(control.url)
    yield client.registry
    client.close()


def test_all_of_it(registry: Any) -> None:
    page = registry.search(Wanted(name="fraud", all_versions=True, tags=(), commercial=None), limit=1)
    assert [each.number for each in page.versions] == [2]
    following = registry.search(Wanted(name="fraud", all_versions=True), limit=1, cursor=page.next)
    assert [each.number for each in following.versions] == [1]

    assert registry.alias("fraud", "production", 1, because="first", expected=0).move.why == "first"
    with pytest.raises(Conflict, match="at version 1 now"):
        registry.alias("fraud", "production", 2, expected=2)
    assert registry.aliases("fraud") == {"production": 1}
    assert registry.find("fraud@production").number == 1
    assert registry.find("fraud").number == registry.find("fraud@latest").number == 2
    with pytest.raises(InvalidInput):
        registry.find("fraud/0")
    assert registry.remove_alias("fraud", "production", because="done").version is None
    moves = registry.history("fraud", "production", since=0.0)
    assert [move.version for move in moves] == [1, None]
    assert registry.history("fraud", since=10.0, until=10.0) == []

    assert registry.card("fraud/1").card.text == "# About"
    assert registry.change_card("fraud", task="rules", tags=["a"], because="x").card.tags == ("a",)
    assert registry.search(Wanted(tags=("a",), task="rules", min_size=1)).versions[0].model == "fraud"

    figures = {"title": "T", "columns": ["metric", "value"], "rows": [["auc", 0.9]], "source": "fraud/2"}
    registry.change_card("fraud", metrics=[figures])
    (found,) = registry.search(Wanted(metrics=("auc>=0.9", "auc<1"), sort="-metric")).versions
    assert (found.number, found.figures[0].told, found.figures[0].value) == (2, "auc", 0.9)
    assert registry.search(Wanted(metrics=("auc>0.9",))).hints[0].there == ("auc=0.9",)

    nan = {"title": "T", "columns": ["auc"], "rows": [[float("nan")]]}
    with pytest.raises(InvalidInput, match="finite") as caught:
        registry.change_card("fraud", metrics=[nan])
    assert caught.value.field == "metrics[0].rows[0][0]"

    tuned = registry.set_parent("fraud/2", "fraud/1", "fine_tune", tradeoff={"auc": [1, 2]}, because="x")
    assert tuned.parent.tradeoff == {"auc": [1, 2]}
    assert [node.number for node in registry.lineage("fraud/1")] == [1, 2]
    assert registry.remove_parent("fraud/2").parent is None

    compared = registry.compare("fraud/1", "fraud/2", contents=True)
    assert [change.what for change in compared.files] == ["model.py"]
    assert "do not tell their tensors" in compared.note

    assert registry.deprecate("fraud/1", because="old").deprecated.why == "old"
    assert registry.undeprecate("fraud/1").deprecated is None
    assert registry.delete("fraud/1", because="old").deleted.why == "old"
    assert registry.restore("fraud/1").deleted is None
    with pytest.raises(NotFound):
        registry.delete("fraud/9")
