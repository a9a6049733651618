"""Requirements as people read them."""

import re
from collections.abc import Sequence
from typing import Final

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def without_ranges(requirements: Sequence[str]) -> tuple[str, ...]:
    """The lines without the ranges of packages of which an exact version is asked for, too: what an adapter can work
    with says nothing beside what the model was made with."""
    pinned = {_name(line) for line in requirements if "==" in line}
    return tuple(line for line in requirements if "==" in line or "@" in line or _name(line) not in pinned)


def _name(line: str) -> str:
    """The package that a line asks for, in PEP 503's spelling."""
    found = _NAME.match(line.strip())
    return re.sub(r"[-_.]+", "-", found[0]).lower() if found else line
