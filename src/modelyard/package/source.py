"""What a user names by an address: a file over the web or a git repository, and which of the two it is."""

import hashlib
import re
import shutil
from pathlib import Path
from typing import Literal, NamedTuple

from modelyard.core.addresses import shown
from modelyard.core.errors import InvalidInput, NotFound, RejectedContent, Unavailable
from modelyard.host.files import read_json, write_json
from modelyard.package import git, url
from modelyard.package.address import file_address, file_name, is_file, is_git, stem
from modelyard.package.archive import is_archive, unpack
from modelyard.package.bucket import Bucket, is_bucket
from modelyard.package.download import unchanged
from modelyard.package.locks import hold
from modelyard.package.pages import page_at
from modelyard.package.uv import Progress

# Addresses of which only a repository can be meant.
_SURELY_GIT = re.compile(
    r"git\+.*|(ssh|file)://.*|[^/]*@[^/]*:.*|.*\.git(@\S+)?/?|"
    r"https://(www\.)?(github\.com|gitlab\.com|codeberg\.org|bitbucket\.org)/[^/]+/[^/]+/?"
)


class Brought(NamedTuple):
    """``folder`` has its files and is called as it is; ``revision`` is the commit, the SHA-256 of what was
    downloaded, or what the bucket says that changes with its objects; ``told`` says for people what was brought."""

    folder: Path
    kind: Literal["git", "file", "bucket"]
    told: str
    revision: str


def is_address(source: str) -> bool:
    """Whether ``source`` is an address, and not a path or a name."""
    return is_bucket(source) or is_file(source) or is_git(source)


def bring(source: str, root: Path, *, progress: Progress) -> Brought:
    """The files at ``source`` as they are now, below ``root``: what is there of an earlier time is taken when it
    has not changed since.

    Raises InvalidInput for an address that is not taken, NotFound when nothing is there, RejectedContent for
    what cannot be used, Forbidden and Unavailable when it cannot be had.
    """
    if is_bucket(source):
        return _bucket(source, root, progress)
    if is_file(source):
        return _file(source, root, progress)
    if _SURELY_GIT.fullmatch(source):
        return _repository(source, root, progress)
    told = page_at(source, files=False)
    if told is not None:
        raise InvalidInput(f"Nothing can be fetched from {shown(source)}: {told}", field="source")
    try:
        return _repository(source, root, progress)
    except NotFound as no_repository:
        try:
            return _file(source, root, progress)
        except (NotFound, RejectedContent) as no_file:
            raise NotFound(
                f"{shown(source)} is neither a git repository nor a file: {no_repository.message} {no_file.message}",
                field="source",
            ) from no_file


def _repository(source: str, root: Path, progress: Progress) -> Brought:
    repository = git.parse(source)
    place = root / _key(source) / _name(repository.name)
    with hold(root / ".locks" / _key(source), lambda: progress("waiting for another process")):
        commit = git.resolve(repository, progress=progress)
        if not _is_known(place, commit):
            coming = _coming(place)
            git.bring(repository, commit, coming, progress=progress)
            _replace(place, coming, {"revision": commit})
    return Brought(place, "git", f"{shown(repository.url)} at {commit[:12]}", commit)


def _file(source: str, root: Path, progress: Progress) -> Brought:
    address = file_address(source)
    place = root / _key(source) / _name(stem(file_name(address.url)))
    with hold(root / ".locks" / _key(source), lambda: progress("waiting for another process")):
        known = read_json(_note(place)) if place.is_dir() else {}
        digest = known.get("revision")
        if digest is None or not (address.sha256 or _is_current(address.url, known, progress)):
            coming = _coming(place)
            got = url.bring(address, coming, progress=progress)
            digest = got.sha256
            _replace(place, coming, {"revision": digest, "validator": got.validator})
    return Brought(place, "file", f"{shown(address.url)} (SHA-256 {digest})", digest)


def _bucket(source: str, root: Path, progress: Progress) -> Brought:
    bucket = Bucket(source)
    place = root / _key(bucket.address) / _name(stem(bucket.name))
    with hold(root / ".locks" / _key(bucket.address), lambda: progress("waiting for another process")):
        listing = bucket.look()
        if not _is_known(place, listing.revision):
            coming = _coming(place)
            bucket.fetch(listing, coming, progress=progress)
            if listing.single and is_archive(listing.objects[0].path):
                _unpack(coming, listing.objects[0].path, progress)
            _replace(place, coming, {"revision": listing.revision})
    return Brought(place, "bucket", f"{bucket.address} ({listing.revision[:40]})", listing.revision)


def _unpack(place: Path, name: str, progress: Progress) -> None:
    """Have what is in the archive in its place."""
    apart = place.with_name(f".{place.name}.unpacked")
    shutil.rmtree(apart, ignore_errors=True)  # of a run that was killed
    try:
        top = unpack(place / name, apart, progress=progress)
        shutil.rmtree(place)
        top.rename(place)
    finally:
        shutil.rmtree(apart, ignore_errors=True)


def _is_current(address: str, known: dict[str, object], progress: Progress) -> bool:
    validator = known.get("validator")
    if not isinstance(validator, str):
        return False
    try:
        return unchanged(address, validator)
    except Unavailable as error:
        progress(f"{error.message} Taking what was fetched before.")
        return True


def _is_known(place: Path, revision: str) -> bool:
    return place.is_dir() and read_json(_note(place)).get("revision") == revision


def _replace(place: Path, coming: Path, note: dict[str, object]) -> None:
    _note(place).unlink(missing_ok=True)
    shutil.rmtree(place, ignore_errors=True)  # of an earlier day
    coming.rename(place)
    write_json(_note(place), note)


def _coming(place: Path) -> Path:
    coming = place.with_name(f"{place.name}.coming")
    shutil.rmtree(coming, ignore_errors=True)
    coming.parent.mkdir(parents=True, exist_ok=True)
    return coming


def _note(place: Path) -> Path:
    return place.with_name(f".{place.name}.json")


def _key(source: str) -> str:
    return hashlib.sha256(source.encode("utf-8", "surrogateescape")).hexdigest()[:12]


def _name(name: str) -> str:
    """One folder's name."""
    return re.sub(r"[^\w.-]", "_", name).lstrip(".")[:100] or "model"
