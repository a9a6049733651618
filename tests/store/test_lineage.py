"""Lineage: what was made from what, as a tree."""

import pytest

from modelyard.core.errors import Conflict, NotFound
from support.registry import Registry


def test_the_tree_is_the_same_from_everywhere_in_it(registry: Registry) -> None:
    for model in ("base", "base", "small", "tuned"):
        registry.add(model)
    trade = {"latency_ms": [12.0, 4.0], "accuracy": [0.91, 0.905]}
    registry.lineage.set(("tuned", 1), ("base", 2), "fine_tune", who="ada")
    registry.lineage.set(("small", 1), ("tuned", 1), "variant", tradeoff=trade, who="ada")
    tree = registry.lineage.tree("base", 2)
    told = [(node.model, node.number, node.parent, node.relation, node.tradeoff) for node in tree]
    assert told == [
        ("base", 2, None, None, None),
        ("tuned", 1, 0, "fine_tune", None),
        ("small", 1, 1, "variant", trade),
    ]
    assert registry.lineage.tree("small", 1) == registry.lineage.tree("tuned", None) == tree
    parent = registry.versions.get("small", 1).parent
    assert parent is not None
    assert (parent.model, parent.number, parent.relation, parent.tradeoff) == ("tuned", 1, "variant", trade)


def test_nothing_is_made_from_itself(registry: Registry) -> None:
    for _ in range(3):
        registry.add("m")
    registry.lineage.set(("m", 2), ("m", 1), "variant", who="ada")
    registry.lineage.set(("m", 3), ("m", 2), "variant", who="ada")
    for child in (1, 2, 3):
        with pytest.raises(Conflict, match="itself made from"):
            registry.lineage.set(("m", child), ("m", 3), "variant", who="ada")
    assert [node.number for node in registry.lineage.tree("m", 1)] == [1, 2, 3]


def test_a_parent_can_be_another_one_later_or_none(registry: Registry) -> None:
    for _ in range(3):
        registry.add("m")
    registry.lineage.set(("m", 3), ("m", 1), "variant", who="ada")
    registry.lineage.set(("m", 3), ("m", 2), "re_export", who="ada")
    assert [node.number for node in registry.lineage.tree("m", 3)] == [2, 3]
    registry.lineage.remove("m", 3, who="ada")
    assert [node.number for node in registry.lineage.tree("m", 3)] == [3]
    assert registry.versions.get("m", 3).parent is None


def test_a_version_that_is_not_there_has_no_lineage(registry: Registry) -> None:
    registry.add("m")
    for call in (
        lambda: registry.lineage.tree("m", 2),
        lambda: registry.lineage.set(("m", 1), ("n", 1), "variant", who="ada"),
        lambda: registry.lineage.remove("n", 1, who="ada"),
    ):
        with pytest.raises(NotFound):
            call()
