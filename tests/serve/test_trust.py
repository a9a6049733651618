"""A version that trust let in runs where it is confined and nowhere else, on real nodes and on lesser kernels."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from modelyard.core.deployment import Leave
from modelyard.core.routes import Confinement, Pool
from modelyard.serve.pool.bounds import around, bounds_of
from support import lesser_kernel
from support.models import function_pool
from support.node import NodeProcess, wait_until
from support.old_kernel import interpreter

CODE = "import os\ndef predict(x: float):\n    {}\n    return x\n"


def by_trust(pool: Pool) -> Pool:
    """The same as the control plane asks for it where trust let the version in."""
    return msgspec.structs.replace(
        pool, executor=msgspec.structs.replace(pool.executor, sandboxed=True, trusted=True)
    )


def on(pool: Pool, python: str) -> Pool:
    return msgspec.structs.replace(pool, executor=msgspec.structs.replace(pool.executor, python=python))


def plain(tmp_path: Path, name: str, does: str = "pass", leave: Leave | None = None) -> Pool:
    return function_pool(tmp_path / name, CODE.format(does), name=name, leave=leave or Leave())


@contextmanager
def serving(
    tmp_path: Path, *pools: Pool, without: str = "", confine: str = "auto"
) -> Iterator[NodeProcess]:
    """A node that is up; it need not be ready."""
    program = ("-m", "modelyard.serve")
    if without:
        program = (str(lesser_kernel.__file__), without, *program)
    node = NodeProcess(tmp_path / "home", program=program, MODELYARD_CONFINE=confine).serve(*pools)
    with node.start(wait=False):
        yield node


def failure(node: NodeProcess, endpoint: str) -> str:
    """What the node says of a pool that cannot start."""

    def said() -> str | None:
        return next((pool.failure for pool in node.status().pools if pool.endpoint == endpoint), None)

    return wait_until(said, what="the failure")


def confinement(node: NodeProcess, endpoint: str) -> Confinement:
    """What holds the replica of ``endpoint``, once it is up."""
    wait_until(lambda: node.pids(endpoint), what="a replica")
    (pool,) = [pool for pool in node.status().pools if pool.endpoint == endpoint]
    known = pool.replicas[0].confinement
    assert known is not None
    return known


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Skips where this machine cannot confine, as it is."""
    place = tmp_path_factory.mktemp("whole")
    with serving(place, plain(place, "plain")) as node:
        if confinement(node, "plain").lacks:
            pytest.skip("this machine cannot hold files and the network")


@pytest.mark.usefixtures("whole")
def test_it_runs_confined_where_the_machine_can(tmp_path: Path) -> None:
    with serving(tmp_path, by_trust(plain(tmp_path, "trusted"))) as node:
        assert confinement(node, "trusted").lacks == []
        assert node.post("/models/trusted/predict", {"x": 2.0}) == (200, {"output": 2.0})


@pytest.mark.parametrize(
    ("without", "lacks"),
    [
        ("landlock,seccomp", "files and network"),
        ("landlock", "files"),
        ("seccomp", "network"),
    ],
)
def test_a_machine_that_cannot_refuses_it_and_serves_what_needs_no_trust(
    request: pytest.FixtureRequest, tmp_path: Path, without: str, lacks: str
) -> None:
    if "," not in without:  # the other part has to be there
        request.getfixturevalue("whole")
    ran = tmp_path / "trusted" / "ran"
    trusted = by_trust(plain(tmp_path, "trusted"))
    model = tmp_path / "trusted" / "model.py"
    model.write_text(f"open({str(ran)!r}, 'w').close()\n{model.read_text()}")
    with serving(tmp_path, trusted, plain(tmp_path, "plain"), without=without) as node:
        said = failure(node, "trusted")
        assert f"it cannot hold its {lacks}" in said
        assert "was let in by trust" in said and "confine = 'off'" in said and "cannot execute" in said
        assert node.post("/models/trusted/predict", {"x": 1.0})[0] == 503
        assert confinement(node, "plain").lacks != []
        assert node.post("/models/plain/predict", {"x": 1.0}) == (200, {"output": 1.0})
    assert not ran.exists()


def test_leave_for_the_network_leaves_files_to_be_held(tmp_path: Path) -> None:
    """What whoever deploys has given needs not be held; the rest does."""
    pool = by_trust(plain(tmp_path, "trusted", leave=Leave(network=True)))
    with serving(tmp_path, pool, without="landlock,seccomp") as node:
        assert "it cannot hold its files, and" in failure(node, "trusted")


SECOND = """
import ctypes, sys
_open = ctypes.CDLL
class Old(_open):
    def __getattr__(self, name):
        real = self[name]
        if name == "unshare":
            return lambda *_: -1
        if name == "syscall":
            return lambda number, *given: 2 if number == 444 and given[2] == 1 else real(number, *given)
        return real
ctypes.CDLL = Old
"""


@pytest.mark.usefixtures("whole")
def test_files_that_can_be_truncated_are_not_held(tmp_path: Path) -> None:
    """Landlock learnt of truncate(2) with its third version: an interpreter that finds the second."""
    victim = tmp_path / "victim"
    victim.write_text("written by somebody else")
    does = f"os.truncate({str(victim)!r}, 0)"
    python = interpreter(tmp_path, SECOND)
    leave = Leave(folders=(sys.prefix,))  # the environment, which lies elsewhere than that interpreter
    pools = (
        on(plain(tmp_path, "plain", does, leave), python),
        on(by_trust(plain(tmp_path, "trusted", does, leave)), python),
    )
    with serving(tmp_path, *pools) as node:
        known = confinement(node, "plain")
        assert known.files == "Landlock 2, all but truncate(2)" and known.lacks == ["files"]
        assert "truncate(2)" in failure(node, "trusted")
        assert node.post("/models/plain/predict", {"x": 1.0})[0] == 200
    assert victim.read_text() == ""


def test_switched_off_by_the_operator_it_runs_and_its_log_says_so(tmp_path: Path) -> None:
    pools = by_trust(plain(tmp_path, "trusted")), plain(tmp_path, "plain")
    with serving(tmp_path, *pools, without="landlock,seccomp", confine="off") as node:
        assert confinement(node, "trusted").lacks == ["files", "the network"]
        assert confinement(node, "plain").lacks == ["files", "the network"]
        assert node.post("/models/trusted/predict", {"x": 1.0}) == (200, {"output": 1.0})
    logs = tmp_path / "home" / "logs" / "models"
    assert (
        "trust let its files in, and the setting confine is 'off'" in (logs / "trusted-1.log").read_text()
    )
    assert not (logs / "plain-1.log").exists()


@pytest.mark.usefixtures("whole")
def test_its_author_is_told_that_whoever_deploys_gives_the_network(tmp_path: Path) -> None:
    does = "import socket; socket.create_connection(('127.0.0.1', 9))"
    with serving(tmp_path, by_trust(plain(tmp_path, "trusted", does))) as node:
        assert confinement(node, "trusted").network == "seccomp"
        said = node.post("/models/trusted/predict", {"x": 1.0})[1]["error"]
        assert "deploy it with --network" in said and "network: true" not in said


def test_those_that_need_trust_and_those_that_do_not_are_forked_from_one_server(tmp_path: Path) -> None:
    one, other = plain(tmp_path, "one"), by_trust(plain(tmp_path, "two"))
    bounds = [
        bounds_of(pool.executor, pool.leave, tmp_path / "run" / pool.endpoint, "auto")
        for pool in (one, other)
    ]
    assert bounds[1] is not None and bounds[1].trusted
    assert around(bounds[0]) == around(bounds[1])
