"""``modelyard models lineage`` and ``parent``: what versions were made from."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import typer

from modelyard.cli.common import client
from modelyard.cli.output import print_json
from modelyard.client.registry_flows import reference_of
from modelyard.core.history import LineageNode
from modelyard.core.model import Relation


def show(name: str, *, as_json: bool) -> None:
    with client() as platform:
        version = platform.registry.find(name)
        nodes = platform.registry.lineage(name)
    if as_json:
        print_json(nodes)
    else:
        print("\n".join(tree_lines(nodes, (version.model, version.number))))


def tree_lines(nodes: Sequence[LineageNode], here: tuple[str, int]) -> list[str]:
    """The tree as text, a line for each version; ``here`` is pointed at."""
    children: dict[int | None, list[int]] = {}
    for index, node in enumerate(nodes):
        children.setdefault(node.parent, []).append(index)
    lines: list[str] = []

    def walk(index: int, lead: str, follow: str) -> None:
        lines.append(lead + _line(nodes[index], here))
        below = children.get(index, [])
        for child in below:
            last = child == below[-1]
            walk(child, follow + ("└─ " if last else "├─ "), follow + ("   " if last else "│  "))

    walk(0, "", "")
    return lines


def _line(node: LineageNode, here: tuple[str, int]) -> str:
    told = f"{node.model}/{node.number}"
    if node.relation is not None:
        told += f"  {node.relation}"
    if node.aliases:
        told += f"  @{', @'.join(node.aliases)}"
    if node.tradeoff is not None:
        told += "  " + ", ".join(f"{name} {_figure(value)}" for name, value in node.tradeoff.items())
    told += "  (deleted)" if node.deleted else "  (deprecated)" if node.deprecated else ""
    return told + ("  ←" if (node.model, node.number) == here else "")


def _figure(value: object) -> str:
    if isinstance(value, list) and len(value) == 2:
        return f"{value[0]} → {value[1]}"
    return value if isinstance(value, str) else json.dumps(value)


def say(
    name: str, source: str, relation: Relation, tradeoff: str | None, because: str, *, as_json: bool
) -> None:
    told = None if tradeoff is None else _tradeoff(tradeoff)
    reference_of(source)
    with client() as platform:
        version = platform.registry.set_parent(name, source, relation, tradeoff=told, because=because)
    if as_json:
        print_json(version)
    elif version.parent is not None:
        of = f"{version.parent.model}/{version.parent.number}"
        print(f"{version.model}/{version.number} was made from {of} ({relation}).")


def forget(name: str, *, as_json: bool) -> None:
    with client() as platform:
        version = platform.registry.remove_parent(name)
    if as_json:
        print_json(version)
    else:
        print(f"Nothing is said any more of what {version.model}/{version.number} was made from.")


def _tradeoff(told: str) -> Mapping[str, Any]:
    try:
        text = Path(told[1:]).read_text() if told.startswith("@") else told
        read = json.loads(text)
    except (OSError, ValueError) as error:
        raise typer.BadParameter(f"This is no JSON: {error}", param_hint="--tradeoff") from error
    if not isinstance(read, dict):
        raise typer.BadParameter(
            'It is an object of figures by name: {"latency_ms": [12, 4]}.', param_hint="--tradeoff"
        )
    return read
