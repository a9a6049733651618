"""The files of a model of MLflow, from wherever its server says that they lie."""

import re
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from modelyard.core.addresses import shown
from modelyard.core.errors import InvalidInput, NotFound, RejectedContent, TooLarge, Unavailable
from modelyard.core.manifest import check_path
from modelyard.package.bucket import Bucket, is_bucket
from modelyard.package.meter import Meter
from modelyard.package.mlflow.server import ServerTracking
from modelyard.package.mlflow.tracking import Tracking
from modelyard.package.partial import Partial
from modelyard.package.uv import Progress

_MOST_FILES = 20_000
_LARGEST = 1 << 40  # bytes of one file
_ATTEMPTS = 4


def fetch(tracking: Tracking, location: str, place: Path, *, progress: Progress, deep: int = 0) -> None:
    """The files at ``location`` in the new folder ``place``.

    Raises InvalidInput for a store that is not spoken to, NotFound when nothing is there, Unavailable.
    """
    if location.startswith("models:/m-") and deep < 3:  # a logged model of MLflow 3
        where = tracking.location(location.removeprefix("models:/").partition("/")[0])
        return fetch(tracking, where, place, progress=progress, deep=deep + 1)
    if location.startswith("runs:/") and deep < 3:
        run, _, path = location.removeprefix("runs:/").partition("/")
        return fetch(
            tracking,
            f"{tracking.run(run).artifacts.rstrip('/')}/{path}",
            place,
            progress=progress,
            deep=deep + 1,
        )
    if is_bucket(location):
        bucket = Bucket(location)
        if place.is_dir():  # whole, of an earlier try
            return None
        bucket.fetch(bucket.look(), place, progress=progress)
        return None
    proxied = _proxied(location)
    if proxied is not None and isinstance(tracking, ServerTracking):
        return _from_server(tracking, proxied, place, progress)
    parts = urlsplit(location)
    if parts.scheme in ("", "file"):
        return _copy(Path(unquote(parts.path)), place, tracking.address)
    raise InvalidInput(
        f"The files lie at {shown(location)[:200]}, which is not spoken to; s3://, gs://, az://, a server's own store "
        "and folders of this machine are.",
        field="source",
    )


def _proxied(location: str) -> str | None:
    """The path in a server's own store that ``location`` names, or None."""
    found = re.fullmatch(r"mlflow-artifacts:(?://[^/]*)?/+(.*)", location) or re.fullmatch(
        r"https?://[^/]+/(?:.*/)?api/2\.0/mlflow-artifacts/artifacts/(.*)", location
    )
    return unquote(found[1]).strip("/") if found else None


def _copy(folder: Path, place: Path, where: str) -> None:
    """From a folder of this machine; links are not followed."""
    if not (
        folder / "MLmodel"
    ).is_file():  # nor is another folder taken, because somebody's server names it
        raise NotFound(
            f"{where} says that the files lie in a folder of the machine that logged them ({folder.name}), which is not here.",
            field="source",
        )
    place.mkdir(parents=True, exist_ok=True)
    for each in sorted(folder.rglob("*")):
        to = place / each.relative_to(folder)
        if each.is_symlink():
            raise RejectedContent(f"{each.name} is a link; only files are brought.")
        if each.is_dir():
            to.mkdir(parents=True, exist_ok=True)
        else:
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(each, to)


def _from_server(server: ServerTracking, path: str, place: Path, progress: Progress) -> None:
    files: list[tuple[str, int]] = []
    folders = [""]
    while folders:
        below = folders.pop()
        for each in server.listed("/".join(filter(None, (path, below)))):
            inside = _inside(str(each["path"]), below)
            if each.get("is_dir"):
                folders.append(inside)
            else:
                files.append((inside, int(each.get("file_size") or 0)))
            if len(files) + len(folders) > _MOST_FILES:
                raise TooLarge(f"There are more than {_MOST_FILES} files at {server.address}: {path}.")
    if not files:
        raise NotFound(f"{server.address} has no files at {path}.", field="source")
    progress(f"fetching {len(files)} file(s) of {server.address}")
    meter, done = Meter(sum(size for _, size in files), progress), 0
    for inside, size in files:
        to = place / inside
        to.parent.mkdir(parents=True, exist_ok=True)
        if not (size and to.is_file() and to.stat().st_size == size):
            _file(server, f"{path}/{inside}" if path else inside, to, size, meter, done)
        done += size


def _inside(told: str, below: str) -> str:
    """The path in the model of what a server lists in the folder ``below``; it tells names alone, or whole paths."""
    path = f"{below}/{told.rpartition('/')[2]}".strip("/")
    try:
        check_path(path)
    except InvalidInput as error:
        raise RejectedContent(f"MLflow names a file that can be no path: {told[:100]!r}.") from error
    return path


def _file(server: ServerTracking, path: str, to: Path, size: int, meter: Meter, done: int) -> None:
    import httpx

    why: Any = ""
    with Partial(to.with_name(f".{to.name[-100:]}.partial"), most=_LARGEST) as partial:
        for _ in range(_ATTEMPTS):
            try:
                with server.stream(path, partial.size) as response:
                    if response.status_code == 200 and partial.size:
                        partial.restart()
                    for piece in response.iter_raw(1 << 20):
                        partial.write(piece)
                        meter.at(done + partial.size)
                if partial.size == size or not size:
                    partial.finish(to)
                    return
                why = f"it has {partial.size} of {size} bytes"
            except (httpx.TransportError, httpx.StreamError) as error:
                why = error
    raise Unavailable(f"{server.address}: {path} cannot be fetched ({str(why)[:200]}).", retry_after=30.0)
