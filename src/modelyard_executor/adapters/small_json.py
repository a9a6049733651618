"""The small JSON files that stand beside weights."""

import json
from pathlib import Path
from typing import Any

from ..adapter import LoadError


def read_json(path: Path) -> Any:
    """What the file holds, {} when there is none. Raises LoadError for what is not JSON."""
    if not path.is_file():
        return {}
    try:
        return json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise LoadError("%s is not JSON: %s" % (path.name, error)) from error
