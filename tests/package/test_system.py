"""What a model needs of the machine is looked for before anything is built, and never installed."""

import shutil
from pathlib import Path

import pytest

from modelyard.core.errors import RejectedContent
from modelyard.package.system import check_system

needs_dpkg = pytest.mark.skipif(shutil.which("dpkg-query") is None, reason="this machine has no dpkg")


@pytest.fixture
def dpkg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A dpkg-query that answers what it is told, in dpkg's own form."""

    def answer(*lines: str) -> None:
        (tmp_path / "answer").write_text("\n".join(lines) + "\n")
        program = tmp_path / "dpkg-query"
        program.write_text(f"#!/bin/sh\nexec /bin/cat {tmp_path}/answer\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path))

    return answer


@needs_dpkg
def test_a_package_that_dpkg_has_is_there():
    assert check_system(["libc6", "coreutils"]) == ()


@needs_dpkg
def test_packages_that_are_missing_are_named_with_the_line_that_installs_them():
    with pytest.raises(RejectedContent) as caught:
        check_system(["libc6", "modelyard-no-such", "modelyard-nor-this"])
    assert "modelyard-no-such and modelyard-nor-this" in caught.value.message
    assert caught.value.message.endswith("apt-get install modelyard-no-such modelyard-nor-this")
    assert caught.value.field == "system_packages"


def test_what_is_provided_or_was_removed_counts_as_that(dpkg):
    dpkg(
        "installed\tlibglib2.0-0t64\tlibglib2.0-0 (= 2.80), libgio (= 2)",
        "config-files\tffmpeg\t",
        "installed\tlibgl1\t",
    )
    assert check_system(["libglib2.0-0", "libgio", "libgl1"]) == ()
    with pytest.raises(RejectedContent, match=r"apt-get install ffmpeg$"):
        check_system(["libgl1", "ffmpeg"])


def test_a_program_on_the_path_is_there_whoever_installed_it(dpkg, tmp_path):
    dpkg("installed\tlibc6\t")
    (tmp_path / "ffmpeg").write_text("#!/bin/sh\n")
    (tmp_path / "ffmpeg").chmod(0o755)
    assert check_system(["ffmpeg"]) == ()


def test_libraries_are_looked_for_as_the_linker_does():
    assert check_system(["libc.so.6"]) == ()
    with pytest.raises(RejectedContent, match=r"libnosuch\.so\.1, which the dynamic linker"):
        check_system(["libc.so.6", "libnosuch.so.1"])


def test_without_dpkg_it_is_said_what_could_not_be_looked_for(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert check_system(["libgl1", "libsndfile1"]) == ("libgl1", "libsndfile1")


def test_a_dpkg_that_fails_is_none(tmp_path, monkeypatch):
    (tmp_path / "dpkg-query").write_text("#!/bin/sh\nexit 2\n")
    (tmp_path / "dpkg-query").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert check_system(["libgl1"]) == ("libgl1",)


def test_nothing_is_asked_for_nothing():
    assert check_system([]) == ()
