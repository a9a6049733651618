"""Files of a git repository at one commit, by the program git: as little of its history as can be, and nothing
that a repository could make git run.

No hooks, no submodules, no templates, no filters, no transport but the one that was named; the system's
configuration is not read, the user's own is (it may know how to say who they are). Links are put into effect by
``links.py``, files of Git LFS are fetched by ``lfs.py``, and ``.git`` is no part of the files.
"""

import re
import shutil
from pathlib import Path
from typing import Final, NamedTuple

from modelyard.core.addresses import shown
from modelyard.core.errors import Internal, InvalidInput, ModelyardError, NotFound
from modelyard.core.manifest import check_path
from modelyard.package import lfs
from modelyard.package.address import check_web
from modelyard.package.git_process import Refused, run, run_again
from modelyard.package.links import inside, settle
from modelyard.package.uv import Progress

_COMMIT: Final = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_SCP: Final = re.compile(r"[\w.][\w.-]*@[\w.][\w.-]*:(?!//)[^\s:]\S*")


class Repository(NamedTuple):
    """``revision``: a commit (40 digits), a tag or a branch; None: the newest commit of the main branch."""

    url: str
    revision: str | None = None

    @property
    def name(self) -> str:
        """What it is called, by its address."""
        return re.split(r"[/:]", self.url.rstrip("/"))[-1].removesuffix(".git") or "repository"


def parse(source: str) -> Repository:
    """Address and revision of ``[git+]address[@revision]``; an @ of a user's name does not begin one.

    Raises InvalidInput for an address that is not taken.
    """
    plain = source.removeprefix("git+")
    head, separator, tail = plain.rpartition("@")
    if (
        separator
        and "/" in head
        and ":" not in tail
        and "/" not in tail.partition("/")[0]
        and _has_path(head)
    ):
        return check(Repository(head, tail))
    return check(Repository(plain))


def check(repository: Repository) -> Repository:
    """``repository``. Raises InvalidInput for an address or a revision that is not taken."""
    url, revision = repository
    scheme = url.partition("://")[0] if "://" in url else ""
    if re.search(r"[\s\x00-\x1f\x7f]", url) or url.startswith("-"):
        raise InvalidInput(
            "An address of a repository has no spaces and does not begin with '-'.", field="source"
        )
    if scheme in ("https", "http"):
        check_web(url)
    elif scheme not in ("ssh", "file") and not _SCP.fullmatch(url):
        raise InvalidInput(
            f"{shown(url)[:200]} is no repository's address: https://…, ssh://…, git@HOST:PATH or file://….",
            field="source",
        )
    if revision is not None and not re.fullmatch(r"(?!-)[^\s~^:?*\[\\\x00-\x1f\x7f]{1,250}", revision):
        raise InvalidInput(f"{revision[:100]!r} is no commit, tag or branch.", field="revision")
    return repository


def resolve(repository: Repository, *, progress: Progress) -> str:
    """The commit that the revision is now, all its digits.

    Raises NotFound when there is no such repository or revision, Forbidden for one that asks who you are,
    Unavailable when it cannot be reached, or git is not there.
    """
    url, revision = check(repository)
    if revision is not None and _COMMIT.fullmatch(revision):
        return revision
    wanted = "HEAD" if revision is None else revision
    told = run_again(
        ["ls-remote", "--quiet", "--", url, wanted, f"{wanted}^{{}}"], Path("/"),
        url=url, revision=revision, progress=progress,
    )  # fmt: skip
    found = {name: commit for commit, _, name in (line.partition("\t") for line in told.splitlines())}
    for name in (
        f"refs/tags/{wanted}^{{}}",
        f"refs/tags/{wanted}",
        f"refs/heads/{wanted}",
        f"{wanted}^{{}}",
        wanted,
    ):
        if name in found:
            return found[name]
    if revision is None:
        raise NotFound(f"{shown(url)} has no commit yet.", field="source")
    digits = (
        " A commit is named by all of its 40 digits." if re.fullmatch("[0-9a-f]{4,39}", revision) else ""
    )
    raise NotFound(f"{shown(url)} has no tag or branch {revision!r}.{digits}", field="revision")


def bring(
    repository: Repository, commit: str, place: Path, *, path: str | None = None, progress: Progress
) -> None:
    """The files of ``commit`` (of :func:`resolve`) in the new folder ``place``; of ``path`` alone (a file or a
    folder in it) when that is given, and then little else is fetched.

    Raises NotFound when it has no such commit or path, and what :func:`resolve` and :func:`lfs.fill` do.
    """
    if path is not None:
        check_path(path.rstrip("/"), field="path")
        path = path.rstrip("/")
    partial = place.with_name(f".{place.name}.git")
    shutil.rmtree(partial, ignore_errors=True)
    partial.parent.mkdir(parents=True, exist_ok=True)
    progress(f"cloning {shown(repository.url)} at {commit[:12]}")
    try:
        _check_out(repository, commit, partial, path, progress)
        shutil.rmtree(partial / ".git")
        coming = place.with_name(f".{place.name}.lfs")
        lfs.fill(partial, repository.url, lfs.pointers_in(partial), coming, progress=progress)
        _finish(partial, place, path, repository)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _has_path(address: str) -> bool:
    """Whether something follows the host, so that an @ behind it begins a revision."""
    if "://" in address:
        return address.partition("://")[2].partition("/")[2].strip("/") != ""
    return ":" in address


def _check_out(
    repository: Repository, commit: str, partial: Path, path: str | None, progress: Progress
) -> None:
    def git(*arguments: str) -> str:
        act = run_again if arguments[0] in ("fetch", "checkout") else run
        return act(arguments, partial, url=repository.url, revision=repository.revision, progress=progress)

    def fetch(*arguments: str) -> None:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        git("init", "--quiet", "--template=")
        git("remote", "add", "--", "origin", repository.url)
        git(
            "fetch",
            "--progress",
            "--no-tags",
            "--no-recurse-submodules",
            "--no-write-fetch-head",
            *arguments,
        )

    filtered = [] if path is None else ["--filter=blob:none"]
    try:
        fetch("--depth=1", *filtered, "origin", commit)
    except (NotFound, Refused, Internal):
        # A server that gives no commit by its digits, or not a part of its history: all of it, then.
        progress("the server gives no single commit; fetching the history")
        fetch("origin", "+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*")
        try:
            git("cat-file", "-e", f"{commit}^{{commit}}")
        except ModelyardError:
            raise NotFound(
                f"{shown(repository.url)} has no commit {commit[:12]} in its branches and tags.",
                field="revision",
            ) from None
    if path is not None:
        (partial / ".git" / "info").mkdir(exist_ok=True)
        git("config", "core.sparseCheckout", "true")
        git("config", "core.sparseCheckoutCone", "false")
        (partial / ".git" / "info" / "sparse-checkout").write_text(f"/{_literally(path)}\n")
    git("checkout", "--quiet", "--detach", "--force", commit)
    listed = git("ls-tree", "-r", "-z", "--full-tree", commit, *(["--", path] if path else []))
    _settle(partial, listed, progress)


def _settle(partial: Path, listed: str, progress: Progress) -> None:
    """Links, which are checked out as files that say where they lead, put into effect; submodules told."""
    links: dict[str, str] = {}
    modules: list[str] = []
    for line in filter(None, listed.split("\0")):
        mode, _, path = line.split(" ", 1)[0], *line.partition("\t")[1:]
        if mode == "120000":
            at = partial / path
            target = at.read_text(errors="surrogateescape") if at.is_file() else ""
            links[path] = inside(path, target)
            at.unlink(missing_ok=True)
        elif mode == "160000":
            modules.append(path)
    settle(partial, links, progress)
    if modules:
        progress(
            f"left out {len(modules)} submodule(s), which are other repositories: {', '.join(modules[:3])}"
        )


def _finish(partial: Path, place: Path, path: str | None, repository: Repository) -> None:
    chosen = partial if path is None else partial / path
    if not chosen.exists():
        raise NotFound(f"{shown(repository.url)} has no {path!r}.", field="path")
    if chosen.is_file():
        single = partial / ".single"
        single.mkdir()
        chosen.rename(single / chosen.name)
        chosen = single
    chosen.rename(place)


def _literally(path: str) -> str:
    """A pattern of gitignore for this path alone."""
    return re.sub(r"([*?\[\]\\!#])", r"\\\1", path)
