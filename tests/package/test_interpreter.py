"""A model's Python is found among those that are installed; the running one is preferred."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from modelyard.core.errors import InvalidInput, RejectedContent, Unavailable
from modelyard.package.environment import Environments
from modelyard.package.interpreter import Interpreters, installed, running
from modelyard.package.sources import Sources, read_sources
from support.interpreters import another, minor

OURS = ".".join(running().version.split(".")[:2])


def silent(_: str) -> None: ...


def find(tmp_path: Path, *asked: str, sources: Sources | None = None, downloads: bool = False):
    return Interpreters(tmp_path, downloads=downloads).find(asked, sources or read_sources(), silent)


def alone() -> Sources:
    """As if there were no interpreter anywhere."""
    return Sources(
        {**read_sources().variables, "PATH": "/nowhere", "HOME": "/nowhere", "PYENV_ROOT": "/nowhere"}
    )


def test_the_running_one_is_taken_where_it_fulfils_what_is_asked(tmp_path):
    for asked in ((), (f">={OURS}",), (OURS,), (running().version,), (">=3.9", f"<={OURS}.99")):
        assert find(tmp_path, *asked, sources=alone()) == running()


def test_another_one_is_found_and_is_what_it_says(tmp_path):
    other = another()
    found = find(tmp_path, minor(other))
    assert found == other
    told = subprocess.run(
        [found.path, "-c", "import platform as p; print(p.python_implementation(), p.python_version())"],
        capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    assert told == found.name
    assert found.identity == f"{told} {running().platform}"


def test_an_environment_has_the_interpreter_that_was_asked_for(tmp_path):
    other = another()
    environments = Environments(tmp_path / "environments")
    ours = environments.ensure(["iniconfig<2.2"])
    theirs = environments.ensure(["iniconfig<2.2"], python=[minor(other)])
    assert ours.lock == theirs.lock and ours.id != theirs.id
    assert (ours.interpreter, theirs.interpreter) == (running().identity, other.identity)
    code = "import iniconfig, platform; print(platform.python_version())"
    told = subprocess.run([theirs.python, "-c", code], capture_output=True, text=True, check=True).stdout
    assert told.strip() == other.version
    assert environments.ensure(["iniconfig<2.2"], python=[minor(other)]) == theirs
    assert (
        Environments(tmp_path / "environments").ensure(["iniconfig<2.2"], python=[minor(other)]) == theirs
    )
    assert environments.get(theirs.id).interpreter == other.identity


def test_pypy_is_the_last_resort(tmp_path):
    pypy = another("PyPy")
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "pypy3").symlink_to(pypy.path)
    variables = {
        **read_sources().variables,
        "PATH": str(folder),
        "HOME": "/nowhere",
        "PYENV_ROOT": "/nowhere",
    }
    assert find(tmp_path, minor(pypy), sources=Sources(variables)).implementation == "PyPy"
    there = installed(read_sources())
    assert [each.implementation for each in there] == sorted(each.implementation for each in there)


def test_what_was_found_is_remembered_until_it_is_replaced(tmp_path, monkeypatch):
    other = another()
    interpreters = Interpreters(tmp_path)
    assert interpreters.find([minor(other)], read_sources(), silent) == other
    monkeypatch.setattr("modelyard.package.uv.binary", lambda: "/nowhere/uv")
    assert interpreters.find([minor(other)], read_sources(), silent) == other
    with pytest.raises(FileNotFoundError):
        interpreters.find([f"=={minor(other)}.*"], read_sources(), silent)


def test_a_shim_that_starts_nothing_hides_no_interpreter(tmp_path):
    other = another()
    shims = tmp_path / "shims"
    shims.mkdir()
    shim = shims / f"python{minor(other)}"
    shim.write_text("#!/bin/sh\nexit 127\n")
    shim.chmod(0o755)
    sources = read_sources()
    path = f"{shims}{os.pathsep}{sources.variables['PATH']}"
    assert find(tmp_path, minor(other), sources=Sources({**sources.variables, "PATH": path})) == other


def test_one_that_is_not_there_is_refused_with_the_line_that_installs_it(tmp_path):
    with pytest.raises(
        RejectedContent, match=r"none on this machine.*uv python install '>=3\.38'"
    ) as caught:
        find(tmp_path, ">=3.38")
    assert caught.value.field == "python"
    with pytest.raises(RejectedContent, match=r"there are: none that uv finds.*python install 3\.38 "):
        find(tmp_path, "3.38", sources=alone())


def test_where_downloads_are_allowed_and_nothing_can_be_reached_that_is_unavailable(tmp_path, monkeypatch):
    variables = {**alone().variables, "ALL_PROXY": "http://127.0.0.1:9", "UV_HTTP_RETRIES": "0"}
    variables["UV_PYTHON_INSTALL_DIR"] = str(tmp_path / "python")
    missing = "3.13" if OURS != "3.13" else "3.12"
    with pytest.raises(Unavailable, match="cannot be fetched"):
        find(tmp_path, missing, sources=Sources(variables), downloads=True)
    monkeypatch.setenv("UV_PYTHON_DOWNLOADS", "automatic")
    with pytest.raises(Unavailable, match="cannot be fetched"):
        find(tmp_path, missing, sources=Sources(variables))
    monkeypatch.setenv("UV_PYTHON_DOWNLOADS", "never")
    with pytest.raises(RejectedContent, match="Install one"):
        find(tmp_path, missing, sources=Sources(variables))


@pytest.mark.parametrize("asked", ["snake", "3", "3.7", "<3.9", "", ">=3.10,<3.10", "3.10; x"])
def test_what_is_no_python_for_an_executor_is_refused(tmp_path, asked):
    if asked == "3":
        assert find(tmp_path, asked) == running()
        return
    with pytest.raises(InvalidInput) as caught:
        find(tmp_path, asked)
    assert caught.value.field == "python"


def test_two_who_ask_for_different_ones_are_both_named(tmp_path):
    with pytest.raises(InvalidInput, match=r"'3\.10' and '3\.12'"):
        find(tmp_path, "3.10", "3.12")


def test_wheels_are_those_of_the_interpreter(tmp_path):
    other = another()
    short = {"CPython": "cp", "PyPy": "pp"}[other.implementation] + minor(other).replace(".", "")
    interpreters = {tag.interpreter for tag in other.tags()}
    assert "py3" in interpreters
    assert (short in interpreters) == (other.implementation == "CPython")
    assert f"cp{sys.version_info.major}{sys.version_info.minor}" in {
        tag.interpreter for tag in running().tags()
    }


def test_an_interpreter_that_hangs_is_told(monkeypatch, tmp_path):
    (tmp_path / "uv").write_text("#!/bin/sh\nexec sleep 60\n")
    (tmp_path / "uv").chmod(0o755)
    monkeypatch.setattr("modelyard.package.uv.binary", lambda: str(tmp_path / "uv"))
    monkeypatch.setattr("modelyard.package.interpreter._PATIENCE", 0.2)
    with pytest.raises(Unavailable, match="may hang"):
        find(tmp_path, "3.38")
