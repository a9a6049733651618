"""The target ``local`` when there is no node, or something else at its address."""

import socket
from pathlib import Path

import pytest

from modelyard.core.errors import Unavailable
from modelyard.core.routes import RouteTable
from modelyard.core.settings import Home
from modelyard.deploy.local import LocalTarget


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path)
    home.run.mkdir(parents=True)
    return home


def test_a_home_without_a_node_says_how_to_start_one(home: Home) -> None:
    with pytest.raises(Unavailable, match="modelyard up"):
        LocalTarget(home).status()


def test_an_address_at_which_nobody_listens_is_unavailable(home: Home) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        home.address("node").write_text(f"http://127.0.0.1:{probe.getsockname()[1]}")
        home.node_key.write_text("k")
        with pytest.raises(Unavailable, match="does not answer"):
            LocalTarget(home).apply(RouteTable(generation=1))


def test_a_node_that_hangs_is_given_up_after_the_timeout(home: Home) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        home.address("node").write_text(f"http://127.0.0.1:{silent.getsockname()[1]}")
        home.node_key.write_text("k")
        with pytest.raises(Unavailable, match="does not answer"):
            LocalTarget(home, timeout=0.1).status()


@pytest.mark.parametrize(
    "address", ["nonsense", "http://host:port", "https://127.0.0.1:1", "http://127.0.0.1:99999"]
)
def test_a_wrong_address_is_unavailable_and_names_it(home: Home, address: str) -> None:
    home.address("node").write_text(address)
    home.node_key.write_text("k")
    with pytest.raises(Unavailable, match="start the node again"):
        LocalTarget(home).status()
