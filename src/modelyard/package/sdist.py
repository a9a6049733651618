"""A package as its source was published, unpacked: nothing of it is built, and no code of it runs.

uv knows where the file is and what its checksum is to be (``uv lock``, whose result is read here); that
needs the package's metadata, which a source tells only by running its build, and so is given as empty.
"""

import hashlib
import shutil
import ssl
import sys
import tarfile
import tomllib
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from modelyard.core.errors import NotFound, RejectedContent, Unavailable
from modelyard.package import uv
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
_MOST = 20 * 2**30  # bytes that a source may be unpacked to


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
    archive = work / "source"
    progress(f"downloading the source of {name}")
    _download(place, archive, digest, sources)
    top = _extract(archive, folder / "source")
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


def _download(place: str, to: Path, digest: str, sources: Sources) -> None:
    found = hashlib.sha256()
    try:
        with _open(place, sources) as response, to.open("wb") as file:
            while piece := response.read(1 << 20):
                found.update(piece)
                file.write(piece)
    except (OSError, urllib.error.URLError) as error:
        raise Unavailable(f"The source cannot be fetched: {error}.", retry_after=30.0) from error
    if digest and found.hexdigest() != digest:
        raise RejectedContent(
            f"The source has the checksum {found.hexdigest()}, the index says {digest}; it is not used."
        )


def _open(place: str, sources: Sources) -> Any:
    if "://" not in place:
        return Path(place).open("rb")
    variables = sources.variables
    proxy = variables.get("ALL_PROXY")
    opener = urllib.request.build_opener(
        urllib.request.HTTPSHandler(
            context=ssl.create_default_context(cafile=variables.get("SSL_CERT_FILE"))
        ),
        urllib.request.ProxyHandler({"http": proxy, "https": proxy} if proxy else None),
    )
    return opener.open(place, timeout=60)


def _extract(archive: Path, to: Path) -> Path:
    try:
        with tarfile.open(archive) as tar:
            if sum(member.size for member in tar) > _MOST:
                raise RejectedContent("The source is larger than any model.")
            tar.extractall(to, filter="data")  # nothing outside of it, no devices, no set-uid
    except (tarfile.TarError, EOFError) as error:
        raise RejectedContent(f"The source is not a tar file that can be unpacked: {error}.") from error
    inside = list(to.iterdir())
    return inside[0] if len(inside) == 1 and inside[0].is_dir() else to
