"""What a model's code may touch, tried by hostile models on a real node."""

import os
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from modelyard.core.deployment import Leave
from modelyard.core.routes import Confinement
from modelyard.core.signature import TensorSpec
from support.models import function_pool
from support.node import NodeProcess, wait_until
from support.old_kernel import interpreter

TEXT = (TensorSpec(name="do", datatype="BYTES", kind="text"),)
# A model that does what it is told.
NONE = Leave()
HOSTILE = """
import os, socket, subprocess, sys, tempfile, time
loaded = "--fork-server" in sys.argv
def predict(do: str):
    names = dict(globals())
    exec(do, names)
    return names.get("said")
"""
ECHO = "def predict(x: float):\n    return x\n"


class Hostile:
    """A node with that model; :meth:`does` has it do something."""

    def __init__(self, node: NodeProcess) -> None:
        self.node = node

    def does(self, code: str) -> Any:
        """What the code leaves in ``said``, or what the caller is told went wrong."""
        _, answer = self.node.post("/models/hostile/predict", {"do": code})
        return answer.get("output", answer.get("error"))

    @property
    def log(self) -> str:
        return (self.node.home.logs / "models" / "hostile-1.log").read_text()

    @property
    def confinement(self) -> Confinement:
        (pool,) = [pool for pool in self.node.status().pools if pool.endpoint == "hostile"]
        known = pool.replicas[0].confinement
        assert known is not None
        return known


@contextmanager
def hostile(tmp_path: Path, leave: Leave = NONE, confine: str = "auto", **more: Any) -> Iterator[Hostile]:
    pool = function_pool(tmp_path / "m", HOSTILE, name="hostile", inputs=TEXT, leave=leave, **more)
    other = function_pool(tmp_path / "other", ECHO, name="other", leave=Leave())
    with NodeProcess(tmp_path / "home", MODELYARD_CONFINE=confine).serve(pool, other) as node:
        yield Hostile(node)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hostile]:
    """Without any leave; the tests that share it leave it as it was."""
    with hostile(tmp_path_factory.mktemp("confined")) as it:
        (it.node.home.root / "modelyard.db").write_text("all that is known")
        yield it


def needs(model: Hostile, *what: str) -> None:
    lacking = [name for name in what if getattr(model.confinement, name) is None]
    if lacking:
        pytest.skip(f"this machine cannot hold {', '.join(lacking)}")


def test_it_says_what_holds_it(model: Hostile) -> None:
    needs(model, "files", "network")
    known = model.confinement
    assert known.files is not None and known.files.startswith("Landlock")
    assert known.network is not None and known.network != "open"


@pytest.mark.parametrize(
    "code",
    [
        "open({home}/'modelyard.db').read()",
        "open({home}/'run'/'node.key').read()",
        "os.listdir({home})",
        "open({home}.parent/'other'/'model.py').read()",
        "os.listdir(os.path.dirname(os.getcwd()))",
        "open('/etc/shadow').read()",
        "os.listdir('/root')",
        "open('/proc/%d/environ' % os.getppid()).read()",
        "open({home}/'modelyard.db', 'w')",
        "open({home}.parent/'m'/'model.py', 'a')",
        "open({home}.parent/'m'/'new', 'w')",
        "os.remove({home}.parent/'m'/'model.py')",
        "os.rename({home}.parent/'m'/'model.py', 'model.py')",
        "os.truncate({home}.parent/'m'/'model.py', 0)",
        "open('/tmp/left-by-a-model', 'w')",
        "os.symlink('/etc', {home}.parent/'m'/'link')",
        "open(os.path.dirname(os.path.dirname(sys.executable)) + '/pyvenv.cfg', 'a')",
        "subprocess.run(['cat', str({home}/'modelyard.db')], check=True)",
        "subprocess.run(['sh', '-c', 'echo > ' + str({home}/'x')], check=True)",
    ],
)
def test_files_that_are_not_its_own_are_refused(model: Hostile, code: str) -> None:
    needs(model, "files")
    code = code.replace("{home}", f"pathlib.Path({str(model.node.home.root)!r})")
    said = model.does(f"import pathlib; said = repr({code})")
    assert "Error" in said and "refused" not in said, said
    if "subprocess" not in code:
        # A move between what is its own and what is not is one between two disks to it.
        assert "cross-device" in said or (
            ("Permission denied" in said or "Read-only" in said) and "--folder" in said
        )
    assert (model.node.home.root / "modelyard.db").read_text() == "all that is known"


def test_what_a_model_needs_is_there(model: Hostile) -> None:
    said = model.does(
        """
import tempfile, multiprocessing, shutil, json
with tempfile.TemporaryDirectory() as place:
    open(place + "/a", "w").write("written")
    os.mkdir(place + "/b")
    os.rename(place + "/a", place + "/b/a")
    written = open(place + "/b/a").read()
open("here", "w").write("x")
said = [written, os.path.exists(os.path.expanduser("~/here")), len(os.urandom(4)), open("/proc/cpuinfo").read(1) != "",
        multiprocessing.Lock() is not None, subprocess.run(["sh", "-c", "echo ran"], capture_output=True, text=True).stdout,
        open("/dev/null", "w").write("x")]
"""
    )
    assert said == ["written", True, 4, True, True, "ran\n", 1]


@pytest.fixture
def listener() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


NETWORK = {
    "TCP": "socket.create_connection(('127.0.0.1', {port}), 5).close(); said = 'through'",
    "UDP": "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', {port})); said = 'through'",
    "listening": "socket.create_server(('127.0.0.1', 0)).close(); said = 'through'",
    "a program": "said = subprocess.run([sys.executable, '-c', 'import socket; socket.create_connection"
    '(("127.0.0.1", {port}), 5); print("through")\'], capture_output=True, text=True).stdout.strip() or 1 / 0',
}


@pytest.mark.parametrize("how", NETWORK)
def test_there_is_no_network_without_leave(model: Hostile, listener: int, how: str) -> None:
    needs(model, "network")
    if how == "UDP" and "TCP alone" in str(model.confinement.network):
        pytest.skip("this machine cannot hold UDP")
    said = model.does(NETWORK[how].format(port=listener))
    assert said != "through"
    if how != "a program":
        assert "PermissionError" in said and "network: true" in said and "--network" in said


def test_a_name_is_not_looked_up_either_and_the_leave_is_named(model: Hostile) -> None:
    needs(model, "network")
    assert "network: true" in model.does(
        "import urllib.request; urllib.request.urlopen('http://modelyard.example')"
    )


def test_the_node_cannot_be_signalled(model: Hostile) -> None:
    needs(model, "signals")
    assert "PermissionError" in model.does("os.kill(os.getppid(), 9)")
    assert model.node.get("/ready")[0] == 200


def test_abstract_sockets_of_others_cannot_be_reached(model: Hostile) -> None:
    needs(model, "signals")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("\0modelyard-test-of-confinement")
        server.listen()
        said = model.does("socket.socket(socket.AF_UNIX).connect('\\0modelyard-test-of-confinement')")
    assert "PermissionError" in said


def test_the_owner_of_the_pools_answers_its_fronts_alone(tmp_path: Path) -> None:
    """A socket in the file system is one that a model's user may open, and no Landlock keeps it from that yet."""
    pool = function_pool(tmp_path / "m", HOSTILE, name="hostile", inputs=TEXT, leave=NONE)
    with NodeProcess(tmp_path / "home", MODELYARD_NODE_PROCESSES="2").serve(pool) as node:
        model = Hostile(node)
        place = node.home.run / "node.sock"
        assert place.exists() or len(str(place)) > 100
        asked = "s = socket.socket(socket.AF_UNIX); s.connect({!r}); s.sendall(b'GET /v2 HTTP/1.1\\r\\nhost: x\\r\\n\\r\\n')"
        said = model.does(f"{asked.format(str(place))}\nsaid = s.recv(100).decode() or 'closed'")
        assert said == "closed" or "Error" in said
        assert model.does("said = 1") == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="its user could do that anyway")
def test_a_model_of_root_has_none_of_roots_rights(model: Hostile) -> None:
    needs(model, "files")
    assert model.does(
        "said = [line.split()[1] for line in open('/proc/self/status') if 'CapEff' in line]"
    ) == ["000000000000001b"]
    assert "Operation not permitted" in model.does("os.setuid(12345)")
    if model.confinement.modes is not None:
        place = f"{str(model.node.home.root.parent / 'm' / 'model.py')!r}"
        assert "Read-only" in model.does(f"os.chmod({place}, 0o777)")
        assert "Read-only" in model.does(f"os.utime({place}, (0, 0))")


def test_with_leave_it_has_the_network(tmp_path: Path, listener: int) -> None:
    with hostile(tmp_path, Leave(network=True)) as model:
        for how in NETWORK:
            assert model.does(NETWORK[how].format(port=listener)) == "through", how
        assert model.confinement.network == "open"
        said = model.does(f"open({str(tmp_path / 'home' / 'run' / 'node.key')!r})")
        assert model.confinement.files is None or "PermissionError" in said


def test_with_leave_it_reads_and_writes_folders(tmp_path: Path) -> None:
    for name in ("read", "written"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("there")
    leave = Leave(folders=(str(tmp_path / "read"), f"{tmp_path / 'written'}:rw"))
    with hostile(tmp_path, leave) as model:
        read, written = (str(tmp_path / name / "file") for name in ("read", "written"))
        for _ in range(2):  # started, and perhaps forked
            assert model.does(f"said = open({read!r}).read()") == "there"
            assert model.does(f"said = open({written!r}, 'w').write('new')") == 3
            if model.confinement.files is not None:
                assert "Error" in model.does(f"open({read!r}, 'w')")
            model.node.post("/v2/repository/models/hostile/unload", {})
    assert (tmp_path / "written" / "file").read_text() == "new"


def test_what_is_forked_is_confined_alike(tmp_path: Path, listener: int) -> None:
    with hostile(tmp_path) as model:
        needs(model, "files", "network")

        def woken() -> bool:
            model.node.post("/v2/repository/models/hostile/unload", {})
            return model.does("said = loaded")

        wait_until(woken, what="a fork")
        assert model.does("said = open('own', 'w').write('x')") == 1
        assert "network: true" in model.does(NETWORK["UDP"].format(port=listener))
        assert "Error" in model.does(f"open({str(tmp_path / 'home' / 'run' / 'node.key')!r})")
        # What lies beside is its server's, and not its own.
        assert "Error" in model.does(f"open({str(tmp_path / 'other' / 'model.py')!r})")
        assert "PermissionError" in model.does("os.kill(os.getppid(), 9)")
        assert model.confinement.processes is None or model.confinement.processes


def test_packages_of_an_environment_run_nothing_before_it_is_confined(tmp_path: Path) -> None:
    """A ``.pth`` file of an installed package runs code in every interpreter that looks at its folder."""
    import subprocess
    import sys

    environment = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    (packages,) = environment.glob("lib/python*/site-packages")
    (packages / "hostile.pth").write_text(
        f"import sys; sys.seen = open({str(tmp_path / 'home' / 'run' / 'node.key')!r}).read()\n"
    )
    pool = function_pool(
        tmp_path / "m",
        "import sys\ndef predict(x: float):\n    return getattr(sys, 'seen', 'nothing')\n",
        leave=Leave(),
    )
    python = msgspec.structs.replace(pool.executor, python=str(environment / "bin" / "python"))
    pool = msgspec.structs.replace(pool, executor=python)
    with NodeProcess(tmp_path / "home").serve(pool) as node:
        status = node.status().pools[0].replicas[0].confinement
        if status is None or status.files is None:
            pytest.skip("this machine cannot hold files")
        assert node.post("/predict", {"x": 1.0})[1] == {"output": "nothing"}


# --- processes


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


DAEMON = """
pid = os.fork()
if pid == 0:
    os.setsid()
    if os.fork():
        os._exit(0)
    os.setsid()
    open("daemon", "w").write(str(os.getpid()))
    for each in range(3):
        os.close(each)
    time.sleep(3600)
os.waitpid(pid, 0)
while not (os.path.exists("daemon") and open("daemon").read()):
    time.sleep(0.01)
said = int(open("daemon").read())
"""


@pytest.mark.parametrize("how", ["it is put to sleep", "it is killed", "it exits", "the node stops"])
def test_a_daemon_ends_with_its_executor(tmp_path: Path, how: str) -> None:
    with hostile(tmp_path) as model:
        daemon = model.does(DAEMON)
        assert alive(daemon)
        (pid,) = model.node.pids("hostile")
        if how == "it is put to sleep":
            model.node.post("/v2/repository/models/hostile/unload", {})
        elif how == "it is killed":
            os.kill(pid, 9)
        elif how == "it exits":
            model.does("os._exit(3)")
        else:
            model.node.stop()
        wait_until(lambda: not alive(daemon), timeout=20, what="the daemon's end")


def test_a_daemon_that_outlived_a_killed_node_ends_with_the_next(tmp_path: Path) -> None:
    with hostile(tmp_path) as model:
        if model.confinement.processes is None or "cgroup" not in model.confinement.processes:
            pytest.skip("this machine has no control groups for us")
        daemon = model.does(DAEMON)
        model.node.kill()
        model.node.start()
        assert not alive(daemon)


def test_where_there_are_no_control_groups_a_daemon_ends_too(tmp_path: Path) -> None:
    """Simulated by a node that looks for them in an empty folder."""
    code = (
        "import sys; from pathlib import Path; from modelyard.serve.pool import limits; "
        "limits.Limits.__init__.__defaults__ = (Path('/nonexistent'),); "
        "from modelyard.serve.__main__ import main; sys.exit(main())"
    )
    pool = function_pool(tmp_path / "m", HOSTILE, name="hostile", inputs=TEXT, leave=Leave())
    other = function_pool(tmp_path / "other", ECHO, name="other", leave=Leave())
    with NodeProcess(tmp_path / "home", program=("-c", code)).serve(pool, other) as node:
        model = Hostile(node)
        assert model.confinement.processes in (None, "RLIMIT_NPROC")
        before = node.pids("other")
        for kill in (lambda: os.kill(node.pids("hostile")[0], 9), lambda: model.does("os._exit(3)")):
            daemon = model.does("\n".join(["if os.path.exists('daemon'): os.remove('daemon')", DAEMON]))
            assert alive(daemon)
            kill()
            wait_until(lambda daemon=daemon: not alive(daemon), timeout=20, what="the daemon's end")
            wait_until(lambda: node.pids("hostile"), what="another executor")
        assert node.pids("other") == before


def test_a_fork_bomb_stays_in_its_group_and_others_answer(tmp_path: Path) -> None:
    with hostile(tmp_path) as model:
        if model.confinement.processes is None:
            pytest.skip("this machine cannot hold processes")
        bomb = "import signal\nfor _ in range(3):\n    os.fork()\nwhile True:\n    try:\n        os.fork()\n    except OSError:\n        time.sleep(0.1)\n"
        with ThreadPoolExecutor(1) as caller:
            exploded = caller.submit(
                model.node.post, "/models/hostile/predict", {"do": bomb}, {"modelyard-timeout": "5"}
            )
            for number in range(20):
                assert model.node.post("/models/other/predict", {"x": float(number)})[0] == 200
                time.sleep(0.2)
            assert exploded.result()[0] in (500, 504)
        wait_until(lambda: model.node.pids("hostile"), what="another executor")
        assert model.does("said = 'alive'") == "alive"


def test_one_that_leaks_dies_alone_and_comes_back(tmp_path: Path) -> None:
    leak = "import builtins\nbuiltins.kept = getattr(builtins, 'kept', [])\nkept.append(bytearray(b'x') * 40_000_000)\nsaid = len(kept)"
    with hostile(tmp_path, memory=256 * 2**20) as model:
        if "cgroup" not in str(model.confinement.memory):
            pytest.skip("without a control group an allocation fails instead")
        first = model.node.pids("hostile")
        others = model.node.pids("other")
        stop = threading.Event()
        answers: list[int] = []

        def call_the_other() -> None:
            while not stop.is_set():
                answers.append(model.node.post("/models/other/predict", {"x": 1.0})[0])

        caller = threading.Thread(target=call_the_other)
        caller.start()
        try:
            grown = [model.does(leak) for _ in range(12)]
        finally:
            stop.set()
            caller.join()
        assert len(grown) == 12 and "memory limit of 256 MiB" in model.log
        wait_until(lambda: model.node.pids("hostile") not in ([], first), what="another executor")
        assert model.does("said = 'alive'") == "alive"
        assert model.node.pids("other") == others
        assert set(answers) == {200}


# --- settings, and machines that cannot


def test_switched_off_nothing_is_held(tmp_path: Path, listener: int) -> None:
    with hostile(tmp_path, confine="off") as model:
        assert model.does(NETWORK["UDP"].format(port=listener)) == "through"
        assert model.does(f"said = open({str(tmp_path / 'other' / 'model.py')!r}).read()") == ECHO
        known = model.confinement
        assert (known.files, known.network, known.signals) == (None, None, None)


UNABLE = (
    "import os\nos.uname = lambda: os.uname_result(('Linux', 'here', '0', '0', 'vax'))\n"
    "import ctypes\n_open = ctypes.CDLL\n"
    "class Old(_open):\n"
    "    def __getattr__(self, name):\n"
    "        return (lambda *_: -1) if name in ('syscall', 'unshare') else super().__getattr__(name)\n"
    "ctypes.CDLL = Old\n"
)


def served_by_old_kernel(tmp_path: Path, confine: str, wait: bool) -> NodeProcess:
    pool = function_pool(tmp_path / "m", HOSTILE, name="hostile", inputs=TEXT, leave=Leave())
    executor = msgspec.structs.replace(pool.executor, python=interpreter(tmp_path, UNABLE))
    node = NodeProcess(tmp_path / "home", MODELYARD_CONFINE=confine)
    node.serve(msgspec.structs.replace(pool, executor=executor))
    return node.start(wait=wait)


def test_a_machine_that_cannot_says_so_and_serves(tmp_path: Path) -> None:
    with served_by_old_kernel(tmp_path, "auto", wait=True) as node:
        model = Hostile(node)
        assert model.does("said = 1 + 1") == 2
        assert (model.confinement.files, model.confinement.network) == (None, None)
        assert "this machine cannot hold its files, network" in model.log


def test_a_machine_that_cannot_refuses_where_it_is_required(tmp_path: Path) -> None:
    with served_by_old_kernel(tmp_path, "required", wait=False) as node:
        failure = wait_until(lambda: node.status().pools[0].failure, what="the failure")
        assert "this machine cannot confine it" in failure and "'required'" in failure
        assert node.get("/ready")[0] == 503


def test_where_it_is_required_and_can_be_held_it_serves(tmp_path: Path) -> None:
    with hostile(tmp_path, confine="required") as model:
        assert model.does("said = 1 + 1") == 2
