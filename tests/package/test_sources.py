"""uv is told what pip is configured with, and a variable of uv's own is stronger."""

from pathlib import Path

import pytest

from modelyard.package.interpreter import running
from modelyard.package.sources import read_sources
from modelyard.package.torch_build import choose_torch


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """A machine whose only pip configuration is the file that the test writes."""
    return {"HOME": str(tmp_path), "XDG_CONFIG_DIRS": str(tmp_path / "xdg"), "PATH": "/usr/bin",
            "PIP_CONFIG_FILE": str(tmp_path / "pip.conf"), "PIP_EXTRA_INDEX_URL": "", "PIP_FIND_LINKS": ""}  # fmt: skip


def configure(environ: dict[str, str], text: str) -> None:
    Path(environ["PIP_CONFIG_FILE"]).write_text(text)


def test_pips_file_is_read(environ):
    del environ["PIP_EXTRA_INDEX_URL"]
    configure(
        environ,
        "[global]\nindex-url = https://a.example/simple\nextra-index-url = https://b.example\n  https://c.example\n",
    )
    variables = read_sources(environ).variables
    assert variables["UV_DEFAULT_INDEX"] == "https://a.example/simple"
    assert variables["UV_INDEX"] == "https://b.example https://c.example"
    assert variables["UV_INDEX_STRATEGY"] == "unsafe-best-match"


def test_pips_variable_is_stronger_than_its_file_and_uvs_than_both(environ):
    configure(environ, "[global]\nindex-url = https://file.example\n")
    environ["PIP_INDEX_URL"] = "https://pip.example"
    assert read_sources(environ).variables["UV_DEFAULT_INDEX"] == "https://pip.example"
    environ["UV_INDEX_URL"] = "https://uv.example"
    variables = read_sources(environ).variables
    assert "UV_DEFAULT_INDEX" not in variables and variables["UV_INDEX_URL"] == "https://uv.example"


def test_the_users_file_is_read_and_the_install_section_is_stronger(environ, tmp_path):
    del environ["PIP_CONFIG_FILE"], environ["PIP_FIND_LINKS"]
    folder = tmp_path / ".config" / "pip"
    folder.mkdir(parents=True)
    (folder / "pip.conf").write_text("[global]\nfind-links = /a\n[install]\nfind-links = /b\n    /c\n")
    assert read_sources(environ).variables["UV_FIND_LINKS"] == "/b,/c"


def test_the_variables_of_an_active_environment_do_not_reach_uv(environ):
    environ |= {"VIRTUAL_ENV": "/x", "PYTHONPATH": "/y", "UV_PYTHON": "3.9"}
    assert not {"VIRTUAL_ENV", "PYTHONPATH", "UV_PYTHON"} & set(read_sources(environ).variables)


def test_the_digest_changes_with_the_index_and_not_with_the_proxy(environ):
    before = read_sources(environ).digest
    assert read_sources(environ | {"ALL_PROXY": "http://127.0.0.1:1"}).digest == before
    assert read_sources(environ | {"PIP_INDEX_URL": "https://a.example"}).digest != before


def wheels(environ: dict[str, str], folder: Path, *names: str) -> dict[str, str]:
    for name in names:
        (folder / name).touch()
    return environ | {"PIP_FIND_LINKS": str(folder)}


def test_without_a_device_the_newest_cpu_wheel_that_fits_is_taken(environ, tmp_path):
    with_wheels = wheels(environ, tmp_path, "torch-2.6.0+cpu-py3-none-any.whl", "torch-2.7.0+cpu-py3-none-any.whl",
                         "torch-2.8.0-py3-none-any.whl", "torch-9.0.0+cpu-cp27-cp27m-win32.whl", "torch-bad.whl")  # fmt: skip
    sources = read_sources(with_wheels)
    assert (
        choose_torch(["torch>=2.6,<3"], sources, tags=running().tags, nvidia=False).constraint
        == "torch==2.7.0+cpu"
    )
    assert (
        choose_torch(["torch<2.7"], sources, tags=running().tags, nvidia=False).constraint
        == "torch==2.6.0+cpu"
    )


def test_without_a_device_or_a_wheel_uv_looks_for_cpu_builds(environ):
    build = choose_torch(["torch>=2.6"], read_sources(environ), tags=running().tags, nvidia=False)
    assert (build.constraint, build.arguments) == (None, ("--torch-backend", "cpu"))


def test_with_a_device_nothing_is_constrained(environ, tmp_path):
    sources = read_sources(wheels(environ, tmp_path, "torch-2.6.0+cpu-py3-none-any.whl"))
    build = choose_torch(["torch"], sources, tags=running().tags, nvidia=True)
    assert (build.constraint, build.arguments) == (None, ())
