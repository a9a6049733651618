"""``modelyard models compare``: what differs between two versions."""

from collections.abc import Sequence

from modelyard.cli.common import client
from modelyard.cli.output import print_json, print_table
from modelyard.core.comparison import Change, Comparison, TensorChanges
from modelyard.core.units import format_bytes

_SHOWN = 40  # changes of tensors


def run(before: str, after: str, *, contents: bool, as_json: bool) -> None:
    with client() as platform:
        found = platform.registry.compare(before, after, contents=contents)
    if as_json:
        print_json(found)
    else:
        print_comparison(found)


def print_comparison(found: Comparison) -> None:
    """For people."""
    print(f"{found.before} → {found.after}")
    if found.identical:
        print("They are the same files.")
        return
    print(f"size   {format_bytes(found.size_before)} → {format_bytes(found.size_after)}")
    for title, changes in (("signature", found.signature), ("facts", found.facts), ("files", found.files)):
        print(f"\n{title}" + ("" if changes else ": no difference"))
        _table(changes)
    if found.figures:
        print("\nfigures")
        rows = [
            [name, *("-" if each is None else f"{each:g}" for each in pair)]
            for name, pair in found.figures.items()
        ]
        print_table(["", "BEFORE", "AFTER"], rows, right=(1, 2))
    if found.tensors is not None:
        print(f"\ntensors: {_count(found.tensors)}")
        _table(found.tensors.changes[:_SHOWN])
        if len(found.tensors.changes) > _SHOWN:
            print(f"… and {len(found.tensors.changes) - _SHOWN} more; --json has them all.")
    if found.note:
        print(f"\n{found.note}")


def _count(tensors: TensorChanges) -> str:
    kinds = [change.kind for change in tensors.changes]
    told = [
        f"{tensors.same} the same",
        *(f"{kinds.count(kind)} {kind}" for kind in ("added", "removed", "changed")),
    ]
    if tensors.unread:
        told.append(
            f"{tensors.unread} of the same type and shape, whose numbers were not compared (--contents)"
        )
    return ", ".join(told)


def _table(changes: Sequence[Change]) -> None:
    if changes:
        print_table(
            ["", "", "BEFORE", "AFTER"],
            [
                [
                    {"added": "+", "removed": "-", "changed": "~"}[each.kind],
                    each.what,
                    each.before or "",
                    each.after or "",
                ]
                for each in changes
            ],
        )
