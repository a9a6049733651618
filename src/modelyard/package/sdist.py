"""A package as its source was published, unpacked: nothing of it is built, and no code of it runs.

uv knows where the file is and what its checksum is to be (``uv lock``, whose result is read here); that
needs the package's metadata, which a source tells only by running its build, and so is given as empty.
"""

import hashlib
import shutil
import sys
import tomllib
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from modelyard.core.errors import NotFound, RejectedContent, Unavailable
from modelyard.package import uv
from modelyard.package.archive import unpack as unpack_archive
from modelyard.package.download import download
from modelyard.package.interpreter import base_python
from modelyard.package.sources import Sources

_PROJECT = """\
[project]
name = "modelyard-fetch"
version = "0"
requires-python = "=={python}.*"
dependencies = ["{requirement}"]

[[tool.uv.dependency-metadata]]
name = "{name}"
{version}requires-dist = []
"""


def unpack(requirement: str, folder: Path, *, sources: Sources, lock: int, progress: uv.Progress) -> Path:
    """The top folder of the source of ``requirement`` (of the newest version that fits), in ``folder``, which
    is empty.

    Raises NotFound when there is no source, RejectedContent when it is not what the index says, or no tar
    file, Unavailable when it cannot be fetched.
    """
    wanted = Requirement(requirement)
    if wanted.url:
        raise RejectedContent(f"A source is fetched from an index; this is an address: {requirement!r}.")
    name = canonicalize_name(wanted.name)
    pins = [each.version for each in wanted.specifier if each.operator == "==" and "*" not in each.version]
    work = folder / ".lock"
    work.mkdir(parents=True)
    (work / "pyproject.toml").write_text(
        _PROJECT.format(
            name=name,
            requirement=wanted,
            version=f'version = "{pins[0]}"\n' if pins else "",
            python=".".join(map(str, sys.version_info[:2])),
        )
    )
    uv.run(
        ["lock", "--python", str(base_python())],
        sources=sources, folder=work, lock=lock, progress=progress,
    )  # fmt: skip
    place, digest = _located(tomllib.loads((work / "uv.lock").read_text()), name, work)
    progress(f"downloading the source of {name}")
    archive = _downloaded(place, work, digest, progress)
    top = unpack_archive(archive, folder / "source", progress=progress)
    shutil.rmtree(work)
    return top


def _located(locked: dict[str, Any], name: str, folder: Path) -> tuple[str, str]:
    """The address or path of the source, and its SHA-256."""
    for package in locked.get("package", ()):
        source = package.get("sdist")
        if package.get("name") == name and source is not None:
            kind, _, digest = source.get("hash", "").partition(":")
            if kind not in ("sha256", ""):
                raise RejectedContent(f"The index tells no SHA-256 of the source of {name}.")
            if "url" in source:
                return source["url"], digest
            root = Path(package["source"].get("registry", ""))
            return str((folder / root / source["path"]).resolve()), digest
    raise NotFound(f"The package index has no source of {name}.")


def _downloaded(place: str, folder: Path, digest: str, progress: uv.Progress) -> Path:
    """The source at an address or a path, checked."""
    if "://" in place:
        return download(
            place, folder, name="source", sha256=digest or None, plain=bool(digest), progress=progress
        ).path
    try:
        with Path(place).open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise Unavailable(f"The source cannot be read: {error}.", retry_after=30.0) from error
    if digest and found != digest:
        raise RejectedContent(
            f"The source has the checksum {found}, the index says {digest}; it is not used."
        )
    return Path(place)
