"""Names that users choose for models and endpoints."""

import re

from modelyard.core.errors import InvalidInput

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?")


def check_name(name: str, *, field: str = "name") -> str:
    """Return ``name`` if it can stand in an URL, a host name and a path; raise InvalidInput else."""
    if not _NAME.fullmatch(name) or ".." in name:
        raise InvalidInput(
            f"{name[:80]!r} cannot be a name: use 1 to 63 lower-case letters, digits, '-', '_' or "
            "'.', beginning and ending with a letter or a digit.",
            field=field,
        )
    return name


def suggest_name(stem: str) -> str:
    """The nearest allowed name to ``stem`` (a file's or a folder's name); raise if there is none."""
    folded = re.sub(r"[^a-z0-9._-]+", "-", stem.lower())
    folded = re.sub(r"\.{2,}", ".", folded).strip("._-")[:63].strip("._-")
    return check_name(folded)
