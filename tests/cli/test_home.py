"""The home at first start, and ports that others have."""

import os
import socket
import stat
import threading
from pathlib import Path

import pytest

from modelyard.cli.ports import check_free
from modelyard.core.errors import Conflict, InvalidInput, Unavailable
from modelyard.core.settings import Home
from modelyard.host.home import prepare
from support.ports import free_port


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_only_the_user_can_read_the_home_and_its_keys(tmp_path: Path) -> None:
    home = Home(tmp_path / "deep" / "home")
    prepare(home)
    assert [mode(place) for place in (home.root, home.run, home.logs)] == [0o700] * 3
    assert [mode(place) for place in (home.key, home.node_key)] == [0o600] * 2
    assert home.key.read_text() != home.node_key.read_text()
    assert len(home.node_key.read_text()) >= 32


def test_a_second_start_keeps_the_keys(tmp_path: Path) -> None:
    home = Home(tmp_path)
    prepare(home)
    key = home.key.read_text()
    prepare(home)
    assert home.key.read_text() == key


def test_many_first_starts_at_once_agree_on_one_key(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    seen: list[str] = []
    barrier = threading.Barrier(8)

    def start() -> None:
        barrier.wait()
        prepare(home)
        seen.append(home.key.read_text())

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 8
    assert len(set(seen)) == 1
    assert not [path for path in home.root.iterdir() if path.name.startswith(".key.")]


def test_a_home_that_cannot_be_made_says_which_variable_to_set(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Unavailable, match="MODELYARD_HOME"):
        prepare(Home(tmp_path / "file" / "home"))


def test_a_taken_port_names_its_owner_and_the_way_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(Conflict) as raised:
            check_free("127.0.0.1", port, "--port", "MODELYARD_CONTROL_PORT")
    assert f"process {os.getpid()}" in raised.value.message
    assert "--port" in raised.value.message
    assert "MODELYARD_CONTROL_PORT" in raised.value.message


def test_a_free_port_is_free_and_any_port_is_always() -> None:
    check_free("127.0.0.1", free_port(), "--port", "X")
    check_free("127.0.0.1", 0, "--port", "X")


def test_an_address_that_is_not_ours_is_wrong_input() -> None:
    with pytest.raises(InvalidInput):
        check_free("192.0.2.1", 9, "--port", "X")
