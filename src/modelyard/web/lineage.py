"""The picture of a lineage: where each version of a tree stands, by levels from left to right."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from modelyard.core.history import LineageNode

MOST: Final = 60  # versions that can still be told apart
_WIDTH, _HEIGHT, _ACROSS, _DOWN, _EDGE = 210, 44, 256, 56, 2
_LONGEST: Final = 23  # characters that fit into a box


class Box(NamedTuple):
    """One version in the picture; ``x`` and ``y`` are its left upper corner. ``note`` is its second line."""

    node: LineageNode
    x: float
    y: float
    label: str
    note: str
    here: bool


class Line(NamedTuple):
    """From a version to one that was made from it, as the path of an SVG."""

    path: str


class Picture(NamedTuple):
    """``boxes`` in the order in which they are read; ``left_out`` is how many versions are not shown."""

    width: int
    height: int
    boxes: tuple[Box, ...]
    lines: tuple[Line, ...]
    left_out: int
    box_width: int = _WIDTH
    box_height: int = _HEIGHT


def draw(nodes: Sequence[LineageNode], model: str, number: int) -> Picture:
    """Lay out a tree (a parent before its children). Of a large one what is nearest to ``model``/``number`` is shown:
    what it was made from, then what was made from it, then the rest."""
    here = next(index for index, node in enumerate(nodes) if (node.model, node.number) == (model, number))
    shown = _nearest(nodes, here)
    root = min(shown)  # a parent stands before its children
    children: dict[int | None, list[int]] = {}
    for index in sorted(shown - {root}):
        children.setdefault(nodes[index].parent, []).append(index)
    places: dict[int, tuple[int, float]] = {}
    order: list[int] = []
    rows = _place(root, children, places, order)
    boxes = [_box(nodes[index], *places[index], here=index == here) for index in order]
    by_index = dict(zip(order, boxes, strict=True))
    lines = [
        Line(_curve(by_index[parent], by_index[index]))
        for index in order
        if (parent := nodes[index].parent) in by_index and parent is not None
    ]
    deepest = max(level for level, _ in places.values())
    return Picture(
        width=deepest * _ACROSS + _WIDTH + 2 * _EDGE,
        height=(rows - 1) * _DOWN + _HEIGHT + 2 * _EDGE,
        boxes=tuple(boxes),
        lines=tuple(lines),
        left_out=len(nodes) - len(shown),
    )


def _nearest(nodes: Sequence[LineageNode], here: int) -> set[int]:
    """The indices that are shown; with each but the first its parent."""
    shown: list[int] = []
    above: int | None = here
    while above is not None:
        shown.append(above)
        above = nodes[above].parent
    shown = shown[:MOST]  # of a long line the end that leads to the version
    taken, below = set(shown), {here}
    for index, node in enumerate(nodes):
        if node.parent in below:
            below.add(index)
            if len(taken) < MOST:
                taken.add(index)
    for index, node in enumerate(nodes):
        if len(taken) >= MOST:
            break
        if node.parent in taken:
            taken.add(index)
    return taken


def _place(
    root: int, children: dict[int | None, list[int]], places: dict[int, tuple[int, float]], order: list[int]
) -> int:
    """Give each its level and row: a version without children the next row, any other that of its
    first child, so that the root stands where reading begins. How many rows there are. Without recursion: a line of fine-tunes may be a thousand long."""
    rows, stack = 0, [(root, 0, False)]
    while stack:
        index, level, done = stack.pop()
        below = children.get(index, [])
        if done:
            places[index] = (level, places[below[0]][1])
            continue
        order.append(index)
        if not below:
            places[index] = (level, float(rows))
            rows += 1
            continue
        stack.append((index, level, True))
        stack.extend((child, level + 1, False) for child in reversed(below))
    return rows


def _box(node: LineageNode, level: int, row: float, *, here: bool) -> Box:
    said = [node.relation.replace("_", "-")] if node.relation else []
    said += [f"@{alias}" for alias in node.aliases]
    said += [word for word, holds in (("deprecated", node.deprecated), ("deleted", node.deleted)) if holds]
    return Box(
        node,
        level * _ACROSS + _EDGE,
        row * _DOWN + _EDGE,
        _short(node.model, _LONGEST - len(f"/{node.number}")) + f"/{node.number}",
        _short(" · ".join(said), _LONGEST + 4),
        here,
    )


def _short(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def _curve(parent: Box, child: Box) -> str:
    left, right = parent.x + _WIDTH, child.x
    above, below = parent.y + _HEIGHT / 2, child.y + _HEIGHT / 2
    middle = (left + right) / 2
    return f"M{left:g} {above:g}C{middle:g} {above:g} {middle:g} {below:g} {right:g} {below:g}"
