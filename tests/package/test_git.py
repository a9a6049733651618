"""Repositories of git: made here, over file:// and over http by git's own server; honest and hostile."""

import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelyard.core.errors import (
    Forbidden,
    InvalidInput,
    ModelyardError,
    NotFound,
    RejectedContent,
    Unavailable,
)
from modelyard.package import git_process, https
from modelyard.package.git import Repository, bring, parse, resolve
from support.repositories import Forge, git, make

BIG = os.urandom(400_000)


@pytest.fixture
def there(tmp_path: Path) -> Path:
    folder = tmp_path / "there" / "moody"
    make(folder, {"model.py": b"x = 1\n", "weights/small.bin": b"small", "data/big.bin": BIG})
    git(folder, "tag", "-a", "v1", "-m", "one")
    make(folder, {"model.py": b"x = 2\n"}, message="two")
    git(folder, "branch", "feature/old", "HEAD~1")
    return folder


@pytest.fixture
def forge(there: Path) -> Iterator[Forge]:
    made = Forge(there.parent)
    with made.serve():
        yield made


def fetch(source: str, place: Path, path: str | None = None, said: list[str] | None = None) -> str:
    told = [] if said is None else said
    repository = parse(source)
    commit = resolve(repository, progress=told.append)
    bring(repository, commit, place, path=path, progress=told.append)
    return commit


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("way", ["file", "http"])
@pytest.mark.parametrize(
    ("revision", "text"),
    [("", "x = 2"), ("@main", "x = 2"), ("@v1", "x = 1"), ("@feature/old", "x = 1"), ("@HEAD~", None), ("@{}", "x = 1")],
)  # fmt: skip
def test_a_commit_a_tag_a_branch(
    there: Path, forge: Forge, tmp_path: Path, way: str, revision: str, text: str | None
) -> None:
    address = f"file://{there}" if way == "file" else f"git+{forge.address}/moody/.git"
    first = git(there, "rev-parse", "HEAD~1")
    if text is None:
        with pytest.raises(InvalidInput, match="no commit, tag or branch"):
            parse(address + revision)
        return
    commit = fetch(address + revision.format(first), tmp_path / "to" / "moody")
    assert (tmp_path / "to" / "moody" / "model.py").read_text().strip() == text
    assert commit == git(there, "rev-parse", "HEAD" if text == "x = 2" else "HEAD~1")
    assert names(tmp_path / "to") == ["moody/data/big.bin", "moody/model.py", "moody/weights/small.bin"]


@pytest.mark.parametrize(
    ("path", "found"),
    [("weights", ["small.bin"]), ("weights/small.bin", ["small.bin"]), ("model.py", ["model.py"])],
)
def test_a_part_is_brought_without_the_rest(
    there: Path, forge: Forge, tmp_path: Path, path: str, found: list[str]
) -> None:
    fetch(f"{forge.address}/moody/.git", tmp_path / "to", path)
    assert names(tmp_path / "to") == found
    assert forge.sent < 100_000  # of 400 kB that cannot be packed


def test_a_path_that_is_not_there_or_none(there: Path, forge: Forge, tmp_path: Path) -> None:
    for path in ("missing", "weights/*", "!weights"):
        with pytest.raises(NotFound, match="has no"):
            fetch(f"file://{there}", tmp_path / "to", path)
    for path in ("../there", "/etc/passwd", ""):
        with pytest.raises(InvalidInput):
            fetch(f"file://{there}", tmp_path / "to", path)
    assert [path.name for path in tmp_path.iterdir()] == ["there"]


def test_a_server_that_gives_no_parts_gives_all(there: Path, forge: Forge, tmp_path: Path) -> None:
    """An old server over plain files, and one that refuses commits by their digits."""
    git(there, "update-server-info")
    forge.dumb = True
    said: list[str] = []
    first = git(there, "rev-parse", "HEAD~1")
    fetch(f"{forge.address}/moody/.git@{first}", tmp_path / "dumb", "model.py", said)
    assert (tmp_path / "dumb" / "model.py").read_text() == "x = 1\n"
    assert "the server gives no single commit; fetching the history" in said
    with pytest.raises(NotFound, match="has no commit"):
        fetch(f"{forge.address}/moody/.git@{'1' * 40}", tmp_path / "none")


@pytest.mark.parametrize(
    ("source", "error", "told"),
    [
        ("{}/moody/.git@nonsense", NotFound, "no tag or branch 'nonsense'"),
        ("{}/moody/.git@abcdef1", NotFound, "all of its 40 digits"),
        ("{}/nothing.git", NotFound, "git cannot bring it"),
        ("file:///nowhere/at.all", NotFound, "git cannot bring it"),
        ("http://127.0.0.1:9/x.git", Unavailable, "cannot be reached"),
        ("https://nowhere.invalid/x.git", Unavailable, "cannot be reached"),
    ],
)
def test_what_cannot_be_had_is_told(
    forge: Forge, tmp_path: Path, source: str, error: type[ModelyardError], told: str
) -> None:
    with pytest.raises(error, match=told):
        fetch(source.format(forge.address), tmp_path / "to")
    assert not (tmp_path / "to").exists()


def test_a_connection_that_breaks_is_tried_again(
    forge: Forge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(https, "FIRST_WAIT", 0.01)
    forge.break_after = 200_000
    said: list[str] = []
    fetch(f"{forge.address}/moody/.git", tmp_path / "to", said=said)
    assert (tmp_path / "to" / "data" / "big.bin").read_bytes() == BIG
    assert any("Trying again" in line for line in said)


def test_one_that_asks_who_you_are(forge: Forge, tmp_path: Path) -> None:
    forge.password = "secret"
    with pytest.raises(Forbidden, match="credential helper"):
        fetch(f"{forge.address}/moody/.git", tmp_path / "to")
    said: list[str] = []
    named = forge.address.replace("//", "//me:secret@")
    fetch(f"{named}/moody/.git", tmp_path / "to", said=said)
    with pytest.raises(NotFound) as told:
        fetch(f"{named}/moody/.git@nonsense", tmp_path / "to", said=said)
    assert "secret" not in told.value.message + "".join(said)


@pytest.mark.parametrize(
    "source",
    ["http://example.org/x.git", "git://example.org/x", "ext::sh -c 'touch x'", "--upload-pack=touch x", "-x", "ftp://h/x",
     "https://h/x y.git", "file:///x@-f", "https://example.org/x@a..b\n", "relative/path"],
)  # fmt: skip
def test_what_is_no_address_that_is_taken(source: str) -> None:
    with pytest.raises(InvalidInput):
        parse(source)


def test_a_users_name_begins_no_revision() -> None:
    assert parse("git@example.org:owner/name.git") == ("git@example.org:owner/name.git", None)
    assert parse("git@example.org:owner/name.git@v1") == ("git@example.org:owner/name.git", "v1")
    assert parse("https://me@example.org/name") == ("https://me@example.org/name", None)
    assert parse("git+https://example.org/name@feature/old") == ("https://example.org/name", "feature/old")
    assert parse("ssh://git@example.org/name.git").name == "name"


def test_git_that_is_not_there_is_told(
    monkeypatch: pytest.MonkeyPatch, there: Path, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Unavailable, match="apt-get install git"):
        fetch(f"file://{there}", tmp_path / "to")


# --- what a repository may try


def test_hooks_filters_and_the_users_settings_of_them_run_nothing(
    there: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = tmp_path / "ran"
    make(there, {".gitattributes": b"*.py filter=lfs\n"})
    hooks = tmp_path / "hooks"
    hooks.mkdir()
    for name in ("post-checkout", "reference-transaction", "post-index-change"):
        (hooks / name).write_text(f"#!/bin/sh\ntouch {mark}\n")
        (hooks / name).chmod(0o755)
    config = tmp_path / "home" / ".gitconfig"
    config.parent.mkdir()
    config.write_text(
        f'[core]\n\thooksPath = {hooks}\n\tfsmonitor = touch {mark}\n[filter "lfs"]\n\tsmudge = touch {mark}\n'
        f"\tprocess = touch {mark}\n\trequired = true\n"
    )
    monkeypatch.setenv("HOME", str(config.parent))
    monkeypatch.setenv("GIT_EXTERNAL_DIFF", "x")
    fetch(f"file://{there}", tmp_path / "to")
    assert (tmp_path / "to" / "model.py").read_text() == "x = 2\n"
    assert not mark.exists()


def test_links_lead_nowhere_out(there: Path, tmp_path: Path) -> None:
    (there / "out").symlink_to("../../..")
    (there / "passwd").symlink_to("/etc/passwd")
    (there / "latest").symlink_to("weights/small.bin")
    (there / "weights" / "up").symlink_to("../model.py")
    make(there, {})
    said: list[str] = []
    fetch(f"file://{there}", tmp_path / "to", said=said)
    assert not any(path.is_symlink() for path in (tmp_path / "to").rglob("*"))
    assert (tmp_path / "to" / "latest").read_bytes() == b"small"
    assert (tmp_path / "to" / "weights" / "up").read_text() == "x = 2\n"
    assert not (tmp_path / "to" / "passwd").exists()
    assert any(line.startswith("left out 2 link(s)") for line in said)


def test_submodules_are_told_and_not_fetched(there: Path, tmp_path: Path) -> None:
    other = tmp_path / "there" / "other"
    make(other, {"x": b"x"})
    git(there, "-c", "protocol.file.allow=always", "submodule", "add", "--quiet", f"file://{other}", "part")
    make(there, {})
    said: list[str] = []
    fetch(f"file://{there}", tmp_path / "to", said=said)
    assert not list((tmp_path / "to" / "part").iterdir())
    assert any("submodule" in line and "part" in line for line in said)


def test_what_was_there_of_a_killed_run_is_no_part(there: Path, tmp_path: Path) -> None:
    (tmp_path / ".to.git" / ".git").mkdir(parents=True)
    (tmp_path / ".to.git" / "half").write_text("x")
    fetch(f"file://{there}", tmp_path / "to")
    assert "half" not in names(tmp_path / "to")


def test_a_server_that_never_answers_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(git_process, "TIMEOUT", 1.0)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with pytest.raises(Unavailable, match="took longer"):
            fetch(f"http://127.0.0.1:{silent.getsockname()[1]}/x.git", tmp_path / "to")


def test_an_interrupt_ends_git_and_what_it_started(tmp_path: Path) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/x.git"
        program = (
            "import signal, sys\nfrom modelyard.package.git import parse, resolve\n"
            "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
            f"resolve(parse({url!r}), progress=print)\n"
        )
        process = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.DEVNULL)
        connection, _ = silent.accept()
        helpers = _children(process.pid)
        assert helpers
        process.send_signal(signal.SIGINT)
        process.wait(timeout=30)
        deadline = time.monotonic() + 10
        while any(Path(f"/proc/{pid}").exists() and not _zombie(pid) for pid in helpers):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        connection.close()


def _children(pid: int) -> list[int]:
    found = [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return [*found, *(child for each in found for child in _children(each))]


def _zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


# --- Git LFS


def test_files_of_git_lfs_are_fetched(
    there: Path, forge: Forge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(https, "FIRST_WAIT", 0.01)
    one, two = os.urandom(900_000), b"two"
    make(there, {"model.bin": forge.keep(one), "two.bin": forge.keep(two), "copy.bin": forge.keep(two)})
    forge.break_after = 600_000  # which no pack has
    said: list[str] = []
    fetch(f"{forge.address}/moody/.git", tmp_path / "to", said=said)
    assert forge.break_after is None
    assert (tmp_path / "to" / "model.bin").read_bytes() == one
    assert (tmp_path / "to" / "copy.bin").read_bytes() == two
    assert any("3 file(s) of Git LFS" in line for line in said)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_those_of_a_part_alone_when_that_is_asked_for(there: Path, forge: Forge, tmp_path: Path) -> None:
    make(there, {"model.bin": forge.keep(b"model"), "weights/two.bin": forge.keep(b"two")})
    fetch(f"{forge.address}/moody/.git", tmp_path / "to", "weights")
    assert (tmp_path / "to" / "two.bin").read_bytes() == b"two"
    assert len([path for path in forge.asked if path.startswith("/lfs/")]) == 1


@pytest.mark.parametrize(("code", "error"), [(404, NotFound), (403, Forbidden), (500, Unavailable)])
def test_what_a_store_of_lfs_has_not(
    there: Path, forge: Forge, tmp_path: Path, code: int, error: type[ModelyardError]
) -> None:
    held = forge.keep(b"model")
    make(there, {"model.bin": held})
    forge.failing = dict.fromkeys(forge.large, code)
    with pytest.raises(error, match="sorry"):
        fetch(f"{forge.address}/moody/.git", tmp_path / "to")
    assert not (tmp_path / "to").exists()


def test_a_store_that_gives_other_bytes_is_not_believed(there: Path, forge: Forge, tmp_path: Path) -> None:
    make(there, {"model.bin": forge.keep(b"model")})
    forge.large = dict.fromkeys(forge.large, b"other")
    with pytest.raises(RejectedContent, match="checksum"):
        fetch(f"{forge.address}/moody/.git", tmp_path / "to")


def test_without_the_web_lfs_is_told(there: Path, forge: Forge, tmp_path: Path) -> None:
    make(there, {"model.bin": forge.keep(b"model")})
    with pytest.raises(Unavailable, match="https alone"):
        fetch(f"file://{there}", tmp_path / "to")
    fetch(f"file://{there}", tmp_path / "to", "weights")  # a part without any is brought


def test_what_git_wrote_is_plain(there: Path, tmp_path: Path) -> None:
    fetch(f"file://{there}", tmp_path / "to")
    assert not (tmp_path / "to" / ".git").exists()
    assert all(stat.S_ISREG(path.stat().st_mode) for path in (tmp_path / "to").rglob("*") if path.is_file())
    assert Repository("https://example.org/a/b.git").name == "b"
    assert threading.active_count() < 10
