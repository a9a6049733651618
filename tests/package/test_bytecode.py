"""Environments are compiled behind their first model, without running any of them."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from modelyard.package import bytecode
from modelyard.package.environment import Environments

SMALL = ["iniconfig>=2"]


def until_done(folder: Path) -> None:
    """Return when it is compiled, and nobody is at it."""
    until(lambda: (folder / ".bytecode").exists() and folder not in bytecode._running)


def until(condition) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "it did not come true"
        time.sleep(0.01)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An environment that is compiled."""
    root = tmp_path / "environments"
    environments = Environments(root)
    folder = root / environments.ensure(SMALL).id
    environments.compile(folder.name)
    until_done(folder)
    return folder


def compiled(folder: Path) -> list[str]:
    return sorted(
        path.name.partition(".")[0] for path in folder.glob("lib/*/site-packages/iniconfig/**/*.pyc")
    )


def test_what_is_installed_is_compiled(folder: Path) -> None:
    assert "__init__" in compiled(folder)
    assert not list(folder.parent.rglob("*.pyc.*"))


def test_what_that_takes_counts_as_the_environments(folder: Path) -> None:
    size = sum(path.stat().st_size for path in folder.rglob("*.pyc"))
    environments = Environments(folder.parent)
    assert environments.get(folder.name).size > size > 0
    (folder / ".bytecode").write_text("")  # as those were marked that an older one compiled
    whole = environments.get(folder.name).size
    (folder / ".bytecode").write_text(str(size))
    assert environments.get(folder.name).size == whole + size


def test_what_it_did_not_come_to_is_done_the_next_time(folder: Path) -> None:
    (folder / ".bytecode").unlink()
    for cache in folder.rglob("__pycache__"):
        shutil.rmtree(cache)
    Environments(folder.parent).compile(folder.name)
    until_done(folder)
    assert "__init__" in compiled(folder)


def linked(one: Path, other: Path) -> int:
    """How many compiled files two environments have in common."""
    files = {path.stat().st_ino for path in one.glob("lib/*/site-packages/iniconfig/**/*.pyc")}
    return len(
        files & {path.stat().st_ino for path in other.glob("lib/*/site-packages/iniconfig/**/*.pyc")}
    )


def test_what_another_one_has_compiled_of_the_same_files_is_linked(folder: Path) -> None:
    made = Environments(folder.parent).ensure([*SMALL, "packaging"])
    other = folder.parent / made.id
    assert compiled(other) == compiled(folder) and linked(other, folder) == len(compiled(folder))
    code = (
        "import iniconfig; print(iniconfig.__cached__, iniconfig.IniConfig.__init__.__code__.co_filename)"
    )
    cached, source = subprocess.run(
        [made.python, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    # It is used, and where it comes from is what an error tells.
    assert Path(cached).stat().st_nlink > 1
    assert all(Path(path).is_relative_to(other) for path in (cached, source))
    assert not (other / ".bytecode").exists()
    Environments(folder.parent).delete(folder.name)
    assert compiled(other)


def test_what_was_compiled_of_other_files_is_not(folder: Path) -> None:
    (parse,) = folder.glob("lib/*/site-packages/iniconfig/_parse.py")
    text = parse.read_bytes()
    parse.unlink()
    parse.write_bytes(text)  # the same, and not the same file
    other = folder.parent / Environments(folder.parent).ensure([*SMALL, "packaging"]).id
    assert set(compiled(folder)) - set(compiled(other)) == {"_parse"}


def test_nothing_is_run_and_what_is_no_python_is_left(folder: Path) -> None:
    (package,) = folder.glob("lib/*/site-packages/iniconfig")
    (package / "harmful.py").write_text(f"open({str(folder / 'ran')!r}, 'w')\n")
    (package.parent / "harmful.pth").write_text(f"import os; os.mkdir({str(folder / 'ran')!r})\n")
    (package / "template.py").write_text("def {{ name }}(:\n")
    (package / "bytes.py").write_bytes(b"\xff\0")
    (folder / ".bytecode").unlink()
    bytecode.compile_behind(folder)
    until_done(folder)
    assert not (folder / "ran").exists()
    assert "harmful" in compiled(folder)
    assert not {"template", "bytes"} & set(compiled(folder))


def test_an_environment_that_is_removed_meanwhile_leaves_nothing(folder: Path) -> None:
    (package,) = folder.glob("lib/*/site-packages/iniconfig")
    for number in range(3000):
        (package / f"module_{number}.py").write_text("x = [1, 2, 3]\n" * 50)
    (folder / ".bytecode").unlink()
    bytecode.compile_behind(folder)
    bytecode.compile_behind(folder)  # it is at it already
    until(lambda: len(compiled(folder)) > 20)
    Environments(folder.parent).delete(folder.name)
    time.sleep(0.3)
    assert not [
        path
        for path in folder.parent.iterdir()
        if not path.name.startswith((".locks", ".resolutions", ".used"))
    ]
    assert not list((folder.parent / ".used").iterdir())


@pytest.mark.skipif(
    not Path("/proc/self/autogroup").exists(), reason="this kernel knows no niceness of sessions"
)
def test_it_gives_way_as_a_process_and_as_a_session(tmp_path: Path) -> None:
    packages = tmp_path / "lib" / "python3" / "site-packages"
    packages.mkdir(parents=True)
    os.mkfifo(packages / "one.py")  # it waits for somebody to write that
    command = [sys.executable, "-S", "-I", bytecode.__file__, str(os.getpid())]
    with subprocess.Popen(command, cwd=tmp_path, start_new_session=True) as process:
        try:
            proc = Path(f"/proc/{process.pid}")
            until(lambda: (proc / "autogroup").read_text().strip().endswith(" nice 19"))
            until(lambda: len(os.sched_getaffinity(process.pid)) == 1)
            assert os.getpriority(os.PRIO_PROCESS, process.pid) == 19
        finally:
            process.kill()
