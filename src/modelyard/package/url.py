"""The files of a model at a web address: one file, or those of an archive."""

import contextlib
import hashlib
import shutil
from pathlib import Path, PurePosixPath

import msgspec

from modelyard.core.addresses import shown
from modelyard.core.errors import NotFound, RejectedContent
from modelyard.package.address import FileAddress
from modelyard.package.archive import is_archive, unpack
from modelyard.package.download import Downloaded, download
from modelyard.package.lfs import is_pointer
from modelyard.package.pages import check_no_page
from modelyard.package.uv import Progress

_WHOLE = ".whole"  # in the folder of a download: its address, the file's name and digest, once it is whole


def bring(address: FileAddress, place: Path, *, path: str | None = None, progress: Progress) -> Downloaded:
    """The files in the new folder ``place``: the file alone, or what is in the archive; of an archive, ``path``
    alone (a file or a folder in it) when that is given. Gives what was downloaded (its path is no more).

    What a download that was broken off has is kept beside ``place``. Raises what :func:`download` and
    :func:`unpack` do, InvalidInput for the address of a page, NotFound when the archive has no ``path``.
    """
    check_no_page(address.url)
    coming = place.with_name(f".{place.name}.url")
    coming.mkdir(parents=True, exist_ok=True)
    progress(f"downloading {shown(address.url)}")
    try:
        got = _whole(coming, address) or download(
            address.url, coming, sha256=address.sha256, progress=progress
        )
    except BaseException:
        with contextlib.suppress(OSError):
            coming.rmdir()  # where nothing has come
        raise
    (coming / _WHOLE).write_bytes(msgspec.json.encode((address.url, got.path.name, got.sha256)))
    told = "as expected" if address.sha256 else "nobody said which to expect"
    progress(f"{got.path.name} has the SHA-256 {got.sha256} ({told})")
    unpacked = place.with_name(f".{place.name}.unpacked")
    shutil.rmtree(unpacked, ignore_errors=True)  # of a run that was killed
    try:
        top = _unpacked(got, unpacked, path, progress) if is_archive(got.path.name) else _alone(got, path)
        top.rename(place)
    finally:
        shutil.rmtree(unpacked, ignore_errors=True)
    shutil.rmtree(coming)
    return got


def _whole(coming: Path, address: FileAddress) -> Downloaded | None:
    """What a run that was killed while it unpacked had downloaded."""
    try:
        url, name, digest = msgspec.json.decode((coming / _WHOLE).read_bytes(), type=tuple[str, str, str])
        path = coming / PurePosixPath(name).name
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if (url, found) == (address.url, digest) and address.sha256 in (None, digest):
            return Downloaded(path, path.stat().st_size, digest)
    except (OSError, msgspec.DecodeError):
        pass
    return None


def _alone(got: Downloaded, path: str | None) -> Path:
    """A folder with the file."""
    if path is not None and path != got.path.name:
        got.path.unlink()
        raise NotFound(
            f"{got.path.name} is one file and no archive; there is no {path!r} in it.", field="path"
        )
    if is_pointer(got.path):
        got.path.unlink()
        raise RejectedContent(
            f"{got.path.name} is not the file but the place holder of Git LFS for it. Name its repository instead: "
            "git+https://… ."
        )
    single = got.path.with_name(".single")
    shutil.rmtree(single, ignore_errors=True)
    single.mkdir()
    got.path.rename(single / got.path.name)
    return single


def _unpacked(got: Downloaded, to: Path, path: str | None, progress: Progress) -> Path:
    progress(f"unpacking {got.path.name}")
    try:
        top = unpack(got.path, to, progress=progress)
    except RejectedContent:
        got.path.unlink()  # it does not become a better one
        raise
    chosen = (
        top if path is None else next((each / path for each in (to, top) if (each / path).exists()), None)
    )
    if chosen is None or not chosen.resolve().is_relative_to(to.resolve()):
        raise NotFound(f"{got.path.name} has no {path!r}.", field="path")
    if chosen.is_file():
        single = to.with_name(f"{to.name}.single")
        shutil.rmtree(single, ignore_errors=True)
        single.mkdir()
        chosen.rename(single / chosen.name)
        return single
    if not any(chosen.iterdir()):
        raise RejectedContent(f"{got.path.name} has no files in it.")
    return chosen
