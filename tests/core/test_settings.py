"""Settings from file, environment and flags, in that order of weight."""

from pathlib import Path

import pytest

from modelyard.core.errors import InvalidInput
from modelyard.core.settings import Home, device_budgets, load_settings


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import os

    for name in list(os.environ):
        if name.startswith("MODELYARD_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("MODELYARD_HOME", str(tmp_path))


def test_the_defaults_are_loopback_and_the_ports_of_the_design() -> None:
    settings = load_settings()
    assert (settings.control_host, settings.control_port) == ("127.0.0.1", 8700)
    assert (settings.node_host, settings.node_port) == ("127.0.0.1", 8701)
    assert settings.authentication is False


def test_flags_outweigh_the_environment_which_outweighs_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "modelyard.toml").write_text("node_port = 1\ncontrol_port = 1\nmax_body = 5\n")
    monkeypatch.setenv("MODELYARD_NODE_PORT", "2")
    monkeypatch.setenv("MODELYARD_CONTROL_PORT", "2")
    settings = load_settings(node_port=3, control_port=None)
    assert (settings.node_port, settings.control_port, settings.max_body) == (3, 2, 5)


@pytest.mark.parametrize("text", ["colour = 1", "node_port = 99999", "node_port = 'x'", "node_port ="])
def test_a_wrong_file_is_told_by_its_name(tmp_path: Path, text: str) -> None:
    (tmp_path / "modelyard.toml").write_text(text)
    with pytest.raises(InvalidInput, match=r"modelyard\.toml"):
        load_settings()


@pytest.mark.parametrize(("name", "value"), [("MODELYARD_COLOUR", "1"), ("MODELYARD_NODE_PORT", "many")])
def test_a_wrong_variable_is_told(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(InvalidInput, match="MODELYARD_"):
        load_settings()


@pytest.mark.parametrize(("text", "value"), [("true", True), ("1", True), ("false", False), ("0", False)])
def test_authentication_is_read_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, text: str, value: bool
) -> None:
    monkeypatch.setenv("MODELYARD_AUTHENTICATION", text)
    assert load_settings().authentication is value


def test_home_is_absolute_and_everything_lies_below_it(tmp_path: Path) -> None:
    home = Home(load_settings().home)
    places = [home.database, home.blobs, home.environments, home.versions, home.run, home.logs, home.key]
    assert all(place.is_relative_to(tmp_path) for place in places)
    assert home.address("node") == tmp_path / "run" / "node.url"


def test_vertex_tells_the_port_and_a_variable_of_ours_comes_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIP_HTTP_PORT", "9090")
    assert load_settings(home=str(tmp_path)).node_port == 9090
    monkeypatch.setenv("MODELYARD_NODE_PORT", "9091")
    assert load_settings(home=str(tmp_path)).node_port == 9091
    monkeypatch.delenv("MODELYARD_NODE_PORT")
    monkeypatch.setenv("AIP_HTTP_PORT", "many")
    with pytest.raises(InvalidInput):
        load_settings(home=str(tmp_path))


def test_the_memory_of_devices_is_told_for_each_or_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert device_budgets("80GiB") == 80 * 2**30
    assert device_budgets(5000) == 5000
    assert device_budgets("cuda:0=40GiB, cuda:GPU-3f=1GB") == {"cuda:0": 40 * 2**30, "cuda:GPU-3f": 10**9}
    (tmp_path / "modelyard.toml").write_text("device_memory = 1_000_000_000\n")
    assert load_settings().device_memory == 10**9
    monkeypatch.setenv("MODELYARD_DEVICE_MEMORY", "cuda:0=1GB")
    assert load_settings().device_memory == "cuda:0=1GB"


@pytest.mark.parametrize(
    "wrong",
    ["much", "0", "cuda:0=", "cuda:0=0", "cuda=1GB", "gpu:0=1GB", "cuda:0=1GB,cuda:0=2GB", "cuda:0=1GB,"],
)
def test_a_memory_of_devices_that_cannot_be_is_refused(wrong: str) -> None:
    with pytest.raises(InvalidInput, match=r"device_memory|size|more than nothing"):
        load_settings(device_memory=wrong)


def test_a_shared_database_is_named_by_its_url_and_told_without_its_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert load_settings().database is None
    for url in ("postgresql://a:b@c/d", "postgres://c/d", "postgresql+psycopg://c/d?sslmode=require"):
        monkeypatch.setenv("MODELYARD_DATABASE", url)
        assert load_settings().database == url
    for url in ("mysql://a:secret@c/d", "/var/lib/a.db", ""):
        monkeypatch.setenv("MODELYARD_DATABASE", url)
        with pytest.raises(InvalidInput, match="postgresql://") as caught:
            load_settings()
        assert "secret" not in caught.value.message


def test_how_fast_bytes_are_read_again_is_a_size_and_never_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings(scrub_rate="2MiB").scrub_rate == 2 * 1024**2
    assert load_settings(scrub_after=0).scrub_after == 0
    for wrong in ("0", "fast"):
        monkeypatch.setenv("MODELYARD_SCRUB_RATE", wrong)
        with pytest.raises(InvalidInput, match=r"scrub_rate|not a size"):
            load_settings()
