"""Files that a repository keeps in Git LFS: told by their place holders, fetched through its batch API.

The place holder: https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md. The API:
https://github.com/git-lfs/git-lfs/blob/main/docs/api/batch.md, with the *basic* transfer. The program git-lfs is
not needed.
"""

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import msgspec

from modelyard.core.addresses import shown
from modelyard.core.errors import Forbidden, ModelyardError, NotFound, RejectedContent, Unavailable
from modelyard.core.units import format_bytes
from modelyard.package import https
from modelyard.package.address import check_web
from modelyard.package.download import download
from modelyard.package.meter import check_room
from modelyard.package.uv import Progress

_SMALL: Final = 1024  # bytes: a place holder is shorter
_POINTER: Final = re.compile(
    rb"version https://(?:git-lfs\.github\.com|hawser\.github\.com)/spec/v1\n(?:ext-[^\n]*\n)*"
    rb"oid sha256:([0-9a-f]{64})\nsize (\d{1,18})\n?"
)
_MOST_ANSWER: Final = 4 << 20
_AT_ONCE: Final = 100
_HEADER: Final = re.compile(r"[A-Za-z0-9-]{1,100}:[ -~]{0,8000}")
# What a store may not say of our request: they are said by us.
_OURS: Final = frozenset(
    {"accept-encoding", "connection", "content-length", "host", "if-range", "range", "transfer-encoding"}
)
_TYPE: Final = "application/vnd.git-lfs+json"


class Pointer(NamedTuple):
    """What a place holder says of its file: SHA-256 in hex, and bytes."""

    sha256: str
    size: int


class _Action(msgspec.Struct):
    href: str
    header: dict[str, str] = {}


class _Actions(msgspec.Struct):
    download: _Action | None = None


class _Failure(msgspec.Struct):
    message: str = ""
    code: int = 0


class _Object(msgspec.Struct):
    oid: str
    actions: _Actions | None = None
    error: _Failure | None = None


class _Batch(msgspec.Struct):
    objects: list[_Object] = []
    transfer: str = "basic"


def read_pointer(data: bytes) -> Pointer | None:
    """What the place holder ``data`` says; None for what is none."""
    found = _POINTER.fullmatch(data) if len(data) <= _SMALL else None
    return None if found is None else Pointer(found[1].decode(), int(found[2]))


def is_pointer(path: Path) -> bool:
    """Whether the file is a place holder."""
    return _pointer_at(path) is not None


def pointers_in(folder: Path) -> dict[str, Pointer]:
    """The place holders below ``folder``, by path."""
    found: dict[str, Pointer] = {}
    for path in _files(folder):
        if (pointer := _pointer_at(path)) is not None:
            found[path.relative_to(folder).as_posix()] = pointer
    return found


def fill(
    folder: Path, repository: str, pointers: dict[str, Pointer], coming: Path, *, progress: Progress
) -> None:
    """Put the files in the place of their place holders. ``repository`` is the address that it was cloned from;
    ``coming`` is a folder of the same disk for what comes, kept when this is broken off, and then gone on with.

    Raises Unavailable for a repository that is not reached over the web, or whose store cannot be reached;
    Forbidden, NotFound, RejectedContent as the store answers.
    """
    if not pointers:
        return
    size = sum(pointer.size for pointer in pointers.values())
    progress(f"fetching {len(pointers)} file(s) of Git LFS ({format_bytes(size)})")
    check_room(folder, size)
    coming.mkdir(exist_ok=True)
    api = api_of(repository)
    paths = sorted(pointers)
    for first in range(0, len(paths), _AT_ONCE):
        some = paths[first : first + _AT_ONCE]
        wanted = sorted({pointers[path] for path in some if not (coming / pointers[path].sha256).is_file()})
        for pointer, action in _located(api, wanted).items():
            download(
                action.href, coming, name=pointer.sha256, sha256=pointer.sha256, size=pointer.size,
                headers=action.header, progress=progress,
            )  # fmt: skip
        for path in some:
            (folder / path).unlink()
            os.link(coming / pointers[path].sha256, folder / path)
    for path in sorted(coming.iterdir()):
        path.unlink()
    coming.rmdir()


def api_of(repository: str) -> str:
    """The address of the batch API: that of the repository, over the web, with ``.git/info/lfs`` behind it.

    Raises Unavailable for a repository that has none. What the repository's own ``.lfsconfig`` says is not
    followed: it could lead anywhere.
    """
    if urlsplit(repository).scheme not in ("https", "http"):
        raise Unavailable(
            f"{shown(repository)} keeps files in Git LFS, which are fetched over https alone. Name the repository by its "
            "https:// address, or clone it with git and git-lfs (apt-get install git-lfs) and name the folder."
        )
    plain = repository.rstrip("/")
    return f"{plain if plain.endswith('.git') else plain + '.git'}/info/lfs/objects/batch"


def read_batch(answer: bytes, wanted: Sequence[Pointer], api: str) -> dict[Pointer, "_Action"]:
    """Where each of ``wanted`` is to be had, as the store answers.

    Raises RejectedContent for an answer that makes no sense, NotFound for a file that the store has not got,
    Forbidden and Unavailable as it says.
    """
    try:
        told = {each.oid: each for each in msgspec.json.decode(answer, type=_Batch).objects}
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise RejectedContent(f"{shown(api)} gives an answer that makes no sense: {error}.") from error
    found: dict[Pointer, _Action] = {}
    for pointer in wanted:
        each = told.get(pointer.sha256)
        if each is not None and each.error is not None:
            raise _failed(each.error, pointer, api)
        if each is None or each.actions is None or each.actions.download is None:
            raise RejectedContent(
                f"{shown(api)} does not say where the file {pointer.sha256[:12]} of Git LFS is."
            )
        action = each.actions.download
        check_web(action.href, field="href")
        if any(not _HEADER.fullmatch(f"{name}:{value}") for name, value in action.header.items()):
            raise RejectedContent(f"{shown(api)} asks for headers that are none.")
        found[pointer] = _Action(
            action.href, {name: value for name, value in action.header.items() if name.lower() not in _OURS}
        )
    return found


def _failed(failure: _Failure, pointer: Pointer, api: str) -> ModelyardError:
    said = f"{shown(api)} says of the file {pointer.sha256[:12]} of Git LFS: {' '.join(failure.message.split())[:200]}"
    if failure.code in (401, 403):
        return Forbidden(f"{said}. It is given to those who say who they are.")
    if failure.code in (404, 410):
        return NotFound(f"{said}. The repository has lost it.", field="source")
    return Unavailable(f"{said}.", retry_after=60.0)


def _located(api: str, wanted: Sequence[Pointer]) -> dict[Pointer, _Action]:
    if not wanted:
        return {}
    body = msgspec.json.encode(
        {
            "operation": "download",
            "transfers": ["basic"],
            "hash_algo": "sha256",
            "objects": [{"oid": each.sha256, "size": each.size} for each in wanted],
        }
    )
    answer = https.post(api, body, most=_MOST_ANSWER, headers={"Accept": _TYPE, "Content-Type": _TYPE})
    return read_batch(answer, wanted, api)


def _files(folder: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder, followlinks=False):
        folders[:] = [name for name in folders if name != ".git"]
        for name in names:
            yield Path(parent) / name


def _pointer_at(path: Path) -> Pointer | None:
    if path.is_symlink() or not path.is_file() or path.stat().st_size > _SMALL:
        return None
    return read_pointer(path.read_bytes())
