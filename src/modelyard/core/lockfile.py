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
