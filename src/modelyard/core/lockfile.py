"""Lockfile: the exact packages that an environment was built of, by which it can be built again elsewhere."""

from modelyard.core.struct import Noun


class Lockfile(Noun):
    """What the environment of this id was built of. ``requirements`` are those that were asked for, ``lock`` the
    exact versions that came out, one a line; ``interpreter`` is the identity of its Python (``CPython 3.11.9
    linux-x86_64``), ``torch_arguments`` told uv which build of PyTorch it is."""

    environment: str
    requirements: tuple[str, ...]
    lock: str
    interpreter: str
    torch_arguments: tuple[str, ...] = ()


def difference(former: str, now: str) -> tuple[str, ...]:
    """What the exact versions of one lock became in another: ``numpy 2.1.0 → 2.2.0``, ``tqdm 4.1 → none``."""
    before, after = _versions(former), _versions(now)
    return tuple(
        f"{name} {before.get(name, 'none')} → {after.get(name, 'none')}"
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    )


def _versions(lock: str) -> dict[str, str]:
    lines = [line.partition(" ")[0].partition("==") for line in lock.splitlines() if "==" in line]
    return {name: version for name, _, version in lines}
