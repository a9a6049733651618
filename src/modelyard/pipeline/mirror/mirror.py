"""What is done with a mirror: an entry brought out of it, an entry put into it."""

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from modelyard.core.errors import InvalidInput, RejectedContent, Unavailable
from modelyard.core.manifest import FileEntry, manifest_of
from modelyard.core.units import format_bytes
from modelyard.host.files import digest_file
from modelyard.package.locks import hold
from modelyard.package.meter import check_room
from modelyard.package.uv import Progress
from modelyard.pipeline.mirror.bucket import BucketPlace
from modelyard.pipeline.mirror.folder import FolderPlace
from modelyard.pipeline.mirror.manifest import (
    EntryManifest,
    Place,
    WritablePlace,
    decode,
    is_mark,
)
from modelyard.pipeline.mirror.web import WebPlace
from modelyard.store.clouds import is_bucket
from modelyard.store.files import FolderFiles


def place_at(address: str) -> Place:
    """A folder, ``s3://bucket/prefix`` (``gs://``, ``az://``) or ``https://…``. Raises InvalidInput for another kind of
    address."""
    if is_bucket(address):
        return BucketPlace(address)
    if address.lower().startswith(("https://", "http://")):
        return WebPlace(address)
    if "://" in address:
        raise InvalidInput(
            f"A mirror is a folder, s3://BUCKET/PREFIX (gs://…, az://…) or https://…; this is {address[:100]!r}.",
            field="mirror",
        )
    return FolderPlace(Path(address).expanduser())


def bring(address: str, name: str, folder: Path, progress: Progress) -> Path | None:
    """The folder with the files of the entry ``name`` out of the mirror at ``address``; None when it has not got
    them. Of a mirror that is no folder they are copied to ``folder``/.mirrored, which is a mirror itself.

    Raises InvalidInput for what is no mirror, RejectedContent for files that are not what their manifest says,
    Unavailable when it cannot be reached.
    """
    place = place_at(address)
    if isinstance(place, FolderPlace):
        return _in_folder(place, name, progress)
    copies = FolderPlace(folder / ".mirrored")
    with hold(
        folder / ".locks" / f"{name}.mirrored", lambda: progress(f"waiting for another copy of {name}")
    ):
        try:
            data = _stated(place, name)
        except Unavailable:
            if copies.manifest(name) is None:
                raise
            progress(f"the mirror {place.address} cannot be reached; taking what it had of {name}")
            return _in_folder(copies, name, progress)
        if data is None:
            return None
        if data != copies.manifest(name):
            _copy(place, decode(data, name, place.address), copies, progress)
        return _in_folder(copies, name, progress)


def prepare(
    place: WritablePlace,
    name: str,
    source: dict[str, Any],
    fetch: Callable[[Path], tuple[Path, str | None]],
    staging: Path,
    progress: Progress,
) -> str:
    """Put the entry ``name`` into the mirror at ``place``, and tell where it is: nothing is done when it is there
    with this ``source``.

    ``fetch`` brings its files below the folder that it is given, and tells their revision. What is broken off
    is gone on with: what was fetched stays in ``staging`` (or in the mirror's folder), what was sent in the mirror.
    """
    where = f"{place.address}/{name}"
    if _is_there(place, name, source, progress):
        return where
    staging = place.staging or staging
    with hold(
        staging / ".locks" / f"{name}.mirror", lambda: progress(f"waiting for another copy of {name}")
    ):
        if isinstance(place, FolderPlace) and (place.root / name).is_dir() and place.manifest(name) is None:
            place.state(_manifest(place.root / name, name, source, None, progress))  # put there by hand
            return where
        staged = staging / hashlib.sha256(msgspec.json.encode(source, order="sorted")).hexdigest()[:12]
        folder, revision = fetch(staged)
        manifest = _manifest(folder, name, source, revision, progress)
        place.begin(manifest)
        done = 0
        for number, file in enumerate(manifest.files, 1):
            place.put(name, file, folder / file.path, progress)
            done += file.size
            if number % 50 == 0 or number == len(manifest.files):
                progress(
                    f"{name}: {number} of {len(manifest.files)} files, {format_bytes(done)} of {format_bytes(manifest.size)}"
                )
        place.commit(manifest)
        shutil.rmtree(staged, ignore_errors=True)
    return where


def _is_there(place: WritablePlace, name: str, source: dict[str, Any], progress: Progress) -> bool:
    known = place.manifest(name)
    if known is None:
        return False
    try:
        manifest = decode(known, name, place.address)
        if manifest.source != source:
            progress(
                f"{name} in {place.address} came from elsewhere than the catalog says now; making it anew"
            )
            return False
        if isinstance(place, FolderPlace):
            place.check(manifest)
    except RejectedContent as error:
        progress(f"{error.message} Making it anew.")
        return False
    progress(f"{name} is in {place.address}")
    return True


def _stated(place: Place, name: str) -> bytes | None:
    """The manifest of ``name``. Raises InvalidInput where there is no mirror."""
    data = place.manifest(name)
    if data is None:
        mark = place.mark()
        if mark is None or not is_mark(mark):
            raise InvalidInput(
                f"There is no mirror at {place.address}. One is made by: modelyard catalog fetch NAME --to PLACE",
                field="MODELYARD_MIRROR",
            )
    return data


def _in_folder(place: FolderPlace, name: str, progress: Progress) -> Path | None:
    if not place.root.is_dir():
        raise InvalidInput(f"The mirror {place.root} is no folder.", field="MODELYARD_MIRROR")
    if not (place.root / name).is_dir():
        return None
    data = place.manifest(name)
    if data is not None:  # else somebody put it there by hand
        place.check(decode(data, name, place.address))
    progress(f"{name} is in the mirror")
    return place.root / name


def _copy(place: Place, manifest: EntryManifest, copies: FolderPlace, progress: Progress) -> None:
    progress(f"copying {manifest.name} out of {place.address} ({format_bytes(manifest.size)})")
    missing = [
        (file, to) for file in manifest.files if (to := copies.coming(manifest.name, file)) is not None
    ]
    check_room(copies.root, sum(file.size for file, _ in missing))
    for file, to in missing:
        place.get(manifest.name, file, to, progress)
    copies.commit(manifest)


def _manifest(
    folder: Path, name: str, source: dict[str, Any], revision: str | None, progress: Progress
) -> EntryManifest:
    """Of the files below ``folder``. Raises RejectedContent when they cannot be a model's."""
    progress(f"reading the files of {name}")
    try:
        files = [
            FileEntry(path=path, size=(folder / path).stat().st_size, sha256=digest_file(folder / path))
            for path in FolderFiles(folder).paths
        ]
        found = manifest_of(files).files
    except InvalidInput as error:
        raise RejectedContent(f"The files of {name} cannot be in a mirror: {error.message}") from error
    return EntryManifest(name=name, source=source, revision=revision, files=found)
