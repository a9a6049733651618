"""Small JSON files of a folder, read inside bounds."""

import json
from collections.abc import Mapping

from modelyard.core.errors import RejectedContent
from modelyard.core.files import Files

LIMIT = 4 * 1024 * 1024


def read_json(files: Files, path: str, *, limit: int = LIMIT) -> object:
    """The value in ``path``. Raises RejectedContent when it is over ``limit`` bytes or not JSON."""
    if files.size(path) > limit:
        raise RejectedContent(
            f"{path} has {files.size(path)} bytes; such a file has at most {limit}.", field=path
        )
    try:
        return json.loads(files.read(path))
    except (ValueError, RecursionError) as error:
        raise RejectedContent(f"{path} is not valid JSON: {str(error)[:200]}.", field=path) from error


def read_object(files: Files, path: str, *, limit: int = LIMIT, whole: bool = True) -> Mapping[str, object]:
    """The JSON object in ``path``; with ``whole`` False only that it begins and ends as one is checked."""
    if not whole:
        size = files.size(path)
        ends = files.read(path, 0, 64).lstrip()[:1] + files.read(path, max(size - 64, 0), 64).rstrip()[-1:]
        if ends != b"{}" or size > limit:
            raise RejectedContent(f"{path} is not a JSON object, or it is truncated.", field=path)
        return {}
    value = read_json(files, path, limit=limit)
    if not isinstance(value, dict):
        raise RejectedContent(f"{path} should hold a JSON object.", field=path)
    return value


def number(held: Mapping[str, object], name: str) -> int | None:
    """A positive whole number, or None when there is none."""
    value = held.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 1 << 31 else None
