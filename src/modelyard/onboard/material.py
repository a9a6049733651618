"""Where a model comes from that is to be added, and its files brought here. Nothing of it is run.

a folder                      read where it is
https://…, git@…, file://…    a git repository: URL or URL@revision; its newest commit alone
hf://owner/name[@revision]    a repository of the hub
name, name==1.2, name[extra]  a package of the configured index: its wheel, or its unpacked source
"""

import hashlib
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Literal, NamedTuple

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from modelyard.core.errors import Internal, InvalidInput, NotFound, RejectedContent, Unavailable
from modelyard.package import hub, sdist, uv
from modelyard.package.interpreter import base_python
from modelyard.package.locks import hold
from modelyard.package.sources import read_sources

Kind = Literal["folder", "git", "hub", "package", "source"]
_GIT = re.compile(r"(git\+)?(https?|ssh|git|file)://\S+|[\w.-]+@[\w.-]+:\S+")
_HUB = "hf://"
# What a repository may not make git do: ask, run a hook, speak through a program that it names.
_GIT_OPTIONS = (
    "-c",
    "core.hooksPath=/dev/null",
    "-c",
    "protocol.ext.allow=never",
    "-c",
    "core.fsmonitor=false",
)


class Material(NamedTuple):
    """The files of a source. ``requirement`` installs them, when they are a wheel (kind *package*);
    ``told`` says for people what was brought."""

    folder: Path
    kind: Kind
    name: str
    told: str
    requirement: str | None = None


def bring(source: str, place: Path, *, python: Path | None = None, progress: uv.Progress) -> Material:
    """The files of ``source``, below ``place`` unless they are here already; of a package, those for the
    interpreter ``python`` (None: the one that runs here).

    Raises InvalidInput for what is no source, NotFound for what is not there, Unavailable when it cannot
    be reached.
    """
    if source.startswith(_HUB):
        return _hub(source.removeprefix(_HUB), place, progress)
    if _GIT.fullmatch(source):
        return _git(source.removeprefix("git+"), place, progress)
    path = Path(source).expanduser()
    if path.is_dir():
        return Material(path.resolve(), "folder", path.resolve().name, f"the folder {path}")
    if path.exists():
        raise InvalidInput(
            f"{source} is a single file. Deploy it as it is (modelyard deploy {source}), or add the folder that it "
            "belongs to.",
            field="source",
        )
    return _package(source, place, python or base_python(), progress)


def _hub(name: str, place: Path, progress: uv.Progress) -> Material:
    repository, _, revision = name.partition("@")
    commit = hub.resolve(repository, revision or None)
    folder = place / f"{repository.replace('/', '--')}-{commit.sha[:12]}"
    with hold(place / ".locks" / folder.name, lambda: progress("waiting for another process")):
        if not folder.is_dir():
            hub.download(commit, folder, progress=progress)
    return Material(
        folder, "hub", repository.rpartition("/")[2], f"{repository} at {commit.sha[:12]} of the hub"
    )


def _git(url: str, place: Path, progress: uv.Progress) -> Material:
    address, revision = _revision(url)
    name = re.split(r"[/:]", address.rstrip("/"))[-1].removesuffix(".git")
    called = hashlib.sha256(url.encode()).hexdigest()[:12]
    folder = place / f"{name}-{called}"
    with hold(place / ".locks" / folder.name, lambda: progress("waiting for another process")):
        partial = folder.with_name(f".{folder.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        progress(f"cloning {address}")
        try:
            _run_git(["init", "--quiet", str(partial)], place)
            _run_git(
                ["fetch", "--quiet", "--depth", "1", "--no-tags", address, revision or "HEAD"], partial
            )
            _run_git(["checkout", "--quiet", "FETCH_HEAD"], partial)
            commit = _run_git(["rev-parse", "HEAD"], partial).strip()
            shutil.rmtree(folder, ignore_errors=True)  # of an earlier day
            partial.rename(folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return Material(folder, "git", name, f"{address} at {commit[:12]}")


def _revision(url: str) -> tuple[str, str | None]:
    """Address and revision of ``address@revision``; an @ of a user's name does not begin one."""
    head, separator, tail = url.rpartition("@")
    if not separator or "/" in tail or ":" in tail or "/" not in head:
        return url, None
    return head, tail


def _run_git(arguments: list[str], folder: Path) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environment |= {"GIT_TERMINAL_PROMPT": "0", "GIT_LFS_SKIP_SMUDGE": "0", "LC_ALL": "C"}
    try:
        done = subprocess.run(
            ["git", *_GIT_OPTIONS, *arguments],
            cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=1800,
        )  # fmt: skip
    except FileNotFoundError as error:
        raise Unavailable("There is no git on this machine; install it, or name a folder.") from error
    except subprocess.TimeoutExpired as error:
        raise Unavailable("git took longer than half an hour.", retry_after=60.0) from error
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["it says nothing"])[-1]
        said = re.sub(r"(?<=://)[^/@\s]+@", "", said)
        raise NotFound(f"git cannot bring it: {said}", field="source")
    return done.stdout


def _package(source: str, place: Path, python: Path, progress: uv.Progress) -> Material:
    try:
        wanted = Requirement(source)
    except InvalidRequirement as error:
        raise InvalidInput(
            f"{source[:100]!r} is neither a folder here, nor an address of a git repository, nor hf://OWNER/NAME, nor "
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
        folder, "package", called, f"{wanted.name} {version} of the package index", f"{called}{extras}=={version}"
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
    return Material(folder, "source", called, f"the source of {top.name}, for which there is no wheel")


def _version(folder: Path, name: str) -> str:
    for each in folder.glob("*.dist-info"):
        called, _, version = each.name.removesuffix(".dist-info").rpartition("-")
        if canonicalize_name(called) == name:
            return version
    raise RejectedContent(f"The wheel of {name} has no metadata.")
