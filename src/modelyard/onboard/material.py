"""Where a model comes from that is to be added, and its files brought here. Nothing of it is run.

a folder                      read where it is
https://…, git@…, file://…    a git repository: URL or URL@revision; its newest commit alone
https://…/model.onnx, .zip    a file, or an archive, which is unpacked; also with #sha256=…
hf://owner/name[@revision]    a repository of the hub
name, name==1.2, name[extra]  a package of the configured index: its wheel, or its unpacked source
"""

import hashlib
import shutil
from pathlib import Path
from typing import Literal, NamedTuple

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from modelyard.core.errors import Internal, InvalidInput, NotFound, RejectedContent, Unavailable
from modelyard.package import hub, sdist, uv
from modelyard.package.interpreter import base_python
from modelyard.package.locks import hold
from modelyard.package.source import bring as bring_address
from modelyard.package.source import is_address
from modelyard.package.sources import read_sources

Kind = Literal["folder", "git", "file", "hub", "package", "source", "bucket"]
_HUB = "hf://"


class Material(NamedTuple):
    """The files of a source. ``requirement`` installs them, when they are a wheel (kind *package*);
    ``told`` says for people what was brought; ``revision`` is the commit, the SHA-256 of a download, or the exact
    package."""

    folder: Path
    kind: Kind
    name: str
    told: str
    requirement: str | None = None
    revision: str | None = None


def bring(source: str, place: Path, *, python: Path | None = None, progress: uv.Progress) -> Material:
    """The files of ``source``, below ``place`` unless they are here already; of a package, those for the
    interpreter ``python`` (None: the one that runs here).

    Raises InvalidInput for what is no source, NotFound for what is not there, Unavailable when it cannot
    be reached.
    """
    if not source.strip():
        raise InvalidInput(
            "Name a source: a folder (. is this one), an address, or a package.", field="source"
        )
    if source.startswith(_HUB):
        return _hub(source.removeprefix(_HUB), place, progress)
    if is_address(source):
        brought = bring_address(source, place, progress=progress)
        return Material(
            brought.folder, brought.kind, brought.folder.name, brought.told, revision=brought.revision
        )
    path = Path(source).expanduser()
    if path.is_dir():
        _require_project(path)
        return Material(path.resolve(), "folder", path.resolve().name, f"the folder {path}")
    if path.exists():
        raise InvalidInput(
            f"{source} is a single file. Deploy it as it is (modelyard deploy {source}), or add the folder that it "
            "belongs to.",
            field="source",
        )
    return _package(source, place, python or base_python(), progress)


def _require_project(folder: Path) -> None:
    """Raises InvalidInput for a folder that is no project's: the machine's own, a person's, or one without files."""
    place = folder.resolve()
    if place == Path(place.anchor) or place == Path.home().resolve():
        raise InvalidInput(
            f"{folder} holds everything and is no project. Name the folder of the project, such as ./my-model.",
            field="source",
        )
    try:
        is_empty = not any(place.iterdir())
    except OSError as error:
        raise InvalidInput(f"{folder} cannot be read: {error.strerror}.", field="source") from error
    if is_empty:
        raise InvalidInput(
            f"The folder {folder} is empty. Name one with the project's files in it, or its address.",
            field="source",
        )


def _hub(name: str, place: Path, progress: uv.Progress) -> Material:
    repository, _, revision = name.partition("@")
    commit = hub.resolve(repository, revision or None)
    folder = place / f"{repository.replace('/', '--')}-{commit.sha[:12]}"
    with hold(place / ".locks" / folder.name, lambda: progress("waiting for another process")):
        if not folder.is_dir():
            hub.download(commit, folder, progress=progress)
    return Material(
        folder, "hub", repository.rpartition("/")[2], f"{repository} at {commit.sha[:12]} of the hub",
        revision=commit.sha,
    )  # fmt: skip


def _package(source: str, place: Path, python: Path, progress: uv.Progress) -> Material:
    try:
        wanted = Requirement(source)
    except InvalidRequirement as error:
        raise InvalidInput(
            f"{source[:100]!r} is neither a folder here, nor an address of a git repository or a file, nor hf://OWNER/NAME, nor "
            "the name of a package.",
            field="source",
        ) from error
    if wanted.url or wanted.marker:
        raise InvalidInput("Name a package as name, name==version or name[extra].", field="source")
    called = canonicalize_name(wanted.name)
    sources = read_sources()
    with hold(place / ".locks" / called, lambda: progress("waiting for another process")) as lock:
        partial = place / f".{called}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        try:
            progress(f"fetching {source}")
            try:
                uv.run(
                    ["pip", "install", "--no-deps", "--no-build", "--target", str(partial), "--python",
                     str(python), str(wanted)],
                    sources=sources, folder=place, lock=lock, progress=progress,
                )  # fmt: skip
            except uv.Unreachable:
                raise
            except (Internal, NotFound, RejectedContent) as error:
                return _source(wanted, place, lock, progress, error)
            version = _version(partial, called)
            folder = place / f"{called}-{version}"
            if not folder.is_dir():
                partial.rename(folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    extras = f"[{','.join(sorted(wanted.extras))}]" if wanted.extras else ""
    return Material(
        folder, "package", called, f"{wanted.name} {version} of the package index", f"{called}{extras}=={version}",
        f"{called}=={version}",
    )  # fmt: skip


def _source(
    wanted: Requirement, place: Path, lock: int, progress: uv.Progress, error: Exception
) -> Material:
    """A package that has no wheel for this machine: its source, unpacked and not built."""
    called = canonicalize_name(wanted.name)
    partial = place / f".{called}.source"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        plain = Requirement(str(wanted))
        plain.extras = set()
        top = sdist.unpack(str(plain), partial, sources=read_sources(), lock=lock, progress=progress)
        folder = place / f"{called}-source-{hashlib.sha256(top.name.encode()).hexdigest()[:8]}"
        shutil.rmtree(folder, ignore_errors=True)
        top.rename(folder)
    except (NotFound, RejectedContent, Unavailable):
        raise error from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return Material(
        folder,
        "source",
        called,
        f"the source of {top.name}, for which there is no wheel",
        revision=str(wanted),
    )


def _version(folder: Path, name: str) -> str:
    for each in folder.glob("*.dist-info"):
        called, _, version = each.name.removesuffix(".dist-info").rpartition("-")
        if canonicalize_name(called) == name:
            return version
    raise RejectedContent(f"The wheel of {name} has no metadata.")
