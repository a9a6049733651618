"""Links of an archive or a repository, put into effect without ever making one.

A link on the disk could lead whoever writes or reads next out of the folder. So a link to a file inside
becomes a second name of that file; one to anywhere else, or to a folder, is left out and told.
"""

import os
import posixpath
import shutil
from collections.abc import Mapping
from pathlib import Path

from modelyard.package.uv import Progress


def settle(root: Path, links: Mapping[str, str], progress: Progress) -> None:
    """``links``: from the path below ``root`` that a link is to have to the path below ``root`` that it leads to
    (:func:`inside`), None where it leads out. What is at a link's path is replaced."""
    waiting = dict(links)
    while waiting:
        made = [path for path, target in waiting.items() if _make(root, path, target)]
        if not made:
            break
        for path in made:
            del waiting[path]
    if waiting:
        told = ", ".join(sorted(waiting)[:3]) + (" …" if len(waiting) > 3 else "")
        progress(f"left out {len(waiting)} link(s) that lead out, to folders or to nothing: {told}")


def inside(path: str, target: str) -> str:
    """Where a link at ``path`` to ``target`` leads, as a path below the root; "" for out of it."""
    if target.startswith("/") or "\0" in target:
        return ""
    where = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
    return "" if where == ".." or where.startswith("../") else where


def _make(root: Path, path: str, target: str) -> bool:
    source, place = root / target, root / path
    if not target or path == target or source.is_symlink() or not source.is_file() or place.is_dir():
        return False
    place.parent.mkdir(parents=True, exist_ok=True)
    place.unlink(missing_ok=True)
    try:
        os.link(source, place)
    except OSError:
        shutil.copyfile(source, place)
    return True
