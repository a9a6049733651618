"""Executors that are forked from a process with the packages imported: alike in all but how soon they are there."""

import contextlib
import os
import shutil
import signal
import time
import venv
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from modelyard.core.deployment import Leave, Resources
from modelyard.core.routes import Pool
from modelyard.core.signature import Signature, TensorSpec
from support.models import function_pool, mlp_pool
from support.node import NodeProcess, wait_until

CODE = """
import os, random, sys, tempfile
import numpy
print("loaded by", os.getpid())

def predict(x: float):
    kind = "forked" if "--fork-server" in sys.argv else "spawned"
    return {"how": kind, "pid": os.getpid(), "parent": os.getppid(), "home": os.environ["HOME"], "cwd": os.getcwd(),
            "temporary": tempfile.gettempdir(), "chance": [random.random(), float(numpy.random.random())],
            "session": os.getsid(0), "keys": sorted(os.environ)}
"""


def waken(node: NodeProcess, name: str = "function") -> dict:
    """What a model says that was put to sleep and woken."""
    assert node.post(f"/v2/repository/models/{name}/unload", {})[0] == 200
    status, answer = node.post(f"/models/{name}/predict", {"x": 1.0})
    assert status == 200, answer
    return answer["output"]


def forked(node: NodeProcess, name: str = "function") -> dict:
    """The same, by when it is forked."""
    return wait_until(
        lambda: answer if (answer := waken(node, name))["how"] == "forked" else None, what="a fork"
    )


def servers(node: NodeProcess) -> list[int]:
    """The fork servers of a node."""
    assert node.process is not None
    found = []
    for each in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((each / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == node.process.pid and b"--fork-server" in (each / "cmdline").read_bytes():
                found.append(int(each.name))
        except OSError:
            continue
    return [pid for pid in found if os.getsid(pid) == pid]


def state(pid: int) -> str:
    """What a process does, as the system says it in a letter; X when it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "X"


def test_a_forked_executor_is_like_one_that_was_started(tmp_path: Path) -> None:
    with NodeProcess(tmp_path / "home").serve(function_pool(tmp_path / "m", CODE)) as node:
        assert node.process is not None
        spawned = node.post("/predict", {"x": 1.0})[1]["output"]
        assert spawned["how"] == "spawned"
        first, second = forked(node), forked(node)
        for each in (first, second):
            assert (each["parent"], each["session"]) == (node.process.pid, each["pid"])
            assert each["home"] == each["cwd"] == each["temporary"] == spawned["home"]
            assert each["keys"] == spawned["keys"]
        assert first["chance"] != second["chance"]
        log = (tmp_path / "home" / "logs" / "models" / "function-1.log").read_text()
        assert f"loaded by {second['pid']}" in log
        # The canary went through it, and it is killed, limited and heard of like any other.
        os.kill(second["pid"], signal.SIGKILL)
        wait_until(lambda: node.pids("function") not in ([second["pid"]], []), what="another executor")
        assert "killed by SIGKILL" in node.log()


def test_forked_executors_outlive_their_server_and_not_the_node(tmp_path: Path) -> None:
    with NodeProcess(tmp_path / "home").serve(function_pool(tmp_path / "m", CODE)) as node:
        answer = forked(node)
        for pid in (pid for pid in servers(node) if pid != answer["pid"]):
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.2)
        assert node.post("/predict", {"x": 1.0})[1]["output"]["pid"] == answer["pid"]
        assert waken(node)["how"] == "spawned"  # without it, as before
        again = forked(node)
        node.kill()
        wait_until(lambda: not Path(f"/proc/{again['pid']}").exists(), what="the executor's end")


def test_a_forked_executor_has_its_limit(tmp_path: Path) -> None:
    code = CODE + "\nKEPT = []\ndef grow(x):\n    KEPT.append(bytearray(b'x') * int(x))\n"
    code = code.replace("    kind =", "    grow(x)\n    kind =")
    pool = function_pool(tmp_path / "m", code, memory=200 * 2**20)
    with NodeProcess(tmp_path / "home").serve(pool) as node:
        forked(node)
        status, answer = node.post("/predict", {"x": 500e6})
        assert (status, "memory" in answer["error"] or "ended" in answer["error"]) != (200, False)
        assert node.post("/predict", {"x": 1.0})[0] == 200


def test_two_models_of_one_environment_share_a_server_and_answer_rightly(tmp_path: Path) -> None:
    pools = [
        msgspec.structs.replace(
            mlp_pool(tmp_path / name), deployment=f"{name}-1", endpoint=name, model=name
        )
        for name in ("a", "b")
    ]
    with NodeProcess(tmp_path / "home").serve(*pools) as node:
        tensor = {"name": "x", "shape": [1, 64], "datatype": "FP32", "data": [0.5] * 64}
        before = node.post("/v2/models/a/infer", {"inputs": [tensor]})[1]["outputs"][0]["data"]
        for _ in range(6):
            for name in ("a", "b"):
                assert node.post(f"/v2/repository/models/{name}/unload", {})[0] == 200
                status, answer = node.post(f"/v2/models/{name}/infer", {"inputs": [tensor]})
                assert status == 200
                assert answer["outputs"][0]["data"] == pytest.approx(before, abs=1e-5)
        wait_until(
            lambda: len(servers(node)) - len(node.pids("a")) - len(node.pids("b")) == 1, what="one server"
        )


def test_what_another_model_of_the_environment_imports_is_there_later(tmp_path: Path) -> None:
    """The server was started with what the first model imports; the second one imports a framework."""
    import_it = 'import sys\nbefore = "sklearn" in sys.modules\nimport sklearn.linear_model\n'
    other = import_it + CODE.replace('{"how": kind,', '{"before": before, "how": kind,')
    pools = [function_pool(tmp_path / "a", CODE, name="a"), function_pool(tmp_path / "b", other, name="b")]
    with NodeProcess(tmp_path / "home").serve(pools[0]) as node:
        forked(node, "a")
        node.serve(*pools)
        wait_until(lambda: node.call("GET", "/v2/models/b/ready")[0] == 200, what="the second model")
        wait_until(
            lambda: (answer := waken(node, "b"))["how"] == "forked" and answer["before"],
            what="a fork with the framework imported",
        )
        assert forked(node, "a")["how"] == "forked"


def test_a_server_that_does_not_answer_is_done_without(tmp_path: Path) -> None:
    """Stopped, as one that hangs in an import: the call waits for a moment, and is answered."""
    with NodeProcess(tmp_path / "home").serve(function_pool(tmp_path / "m", CODE)) as node:
        answer = forked(node)
        for pid in (pid for pid in servers(node) if pid != answer["pid"]):
            os.kill(pid, signal.SIGSTOP)
        assert waken(node)["how"] == "spawned"
        assert "a fork server is let go of" in node.log()


STOPS = """
import os, signal, sys

server = os.getpid() if "--fork-server" in sys.argv else None


def stop():
    if os.getpid() == server:
        os.kill(server, signal.SIGSTOP)


os.register_at_fork(after_in_parent=stop)
"""


def sockets(pid: int) -> set[str]:
    """Those that a process holds, by what the system calls them."""
    found: set[str] = set()
    for each in Path(f"/proc/{pid}/fd").glob("*"):
        with contextlib.suppress(OSError):
            found.add(str(each.readlink()))
    return {name for name in found if name.startswith("socket:")}


def build(environment: Path, **modules: str) -> None:
    """An environment in that folder, in place of what was there, with these modules."""
    shutil.rmtree(environment, ignore_errors=True)
    venv.create(environment, with_pip=False, symlinks=True)
    (packages,) = environment.glob("lib/python*/site-packages")
    for name, text in modules.items():
        (packages / f"{name}.py").write_text(text)


def pool_in(environment: Path, code: str) -> Pool:
    """A function that runs in an environment, which lies beside it."""
    pool = function_pool(environment.parent / "versions" / "m", code, leave=Leave())
    executor = msgspec.structs.replace(pool.executor, python=str(environment / "bin" / "python"))
    return msgspec.structs.replace(pool, executor=executor)


def test_a_fork_that_comes_too_late_has_nothing_of_who_was_started_in_its_place(tmp_path: Path) -> None:
    """Its server is stopped when it has forked and not said so; the call is answered by another process."""
    build(tmp_path / "environment", stops=STOPS)
    code = (
        "import os, sys\nimport stops\n"
        "def predict(x: float):\n"
        "    return {'how': 'forked' if '--fork-server' in sys.argv else 'spawned', 'pid': os.getpid()}\n"
    )
    with NodeProcess(tmp_path / "home").serve(pool_in(tmp_path / "environment", code)) as node:
        late: set[int] = set()
        with ThreadPoolExecutor(1) as caller:
            while not late:
                waking = caller.submit(waken, node)
                stopped: set[int] = set()
                while not waking.done():
                    stopped |= {pid for pid in servers(node) if state(pid) == "T"}
                    if stopped:
                        late |= set(servers(node)) - stopped
                    time.sleep(0.01)
                answer = waking.result()
        for pid in stopped:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        assert answer["how"] == "spawned" and node.pids("function") == [answer["pid"]]
        own = sockets(answer["pid"])
        assert own
        others = {int(each.name) for each in Path("/proc").glob("[0-9]*")} - {answer["pid"]}
        assert [pid for pid in others if own & sockets(pid)] == []
        wait_until(lambda: all(state(pid) in "ZX" for pid in late), what="the end of the one that was late")
        assert node.post("/predict", {"x": 1.0})[1]["output"] == answer


def test_with_several_threads_it_forks_too(tmp_path: Path) -> None:
    """numpy's own library has threads from its import on then; they sleep, and it knows how to fork."""
    pool = msgspec.structs.replace(function_pool(tmp_path / "m", CODE), resources=Resources(threads=2))
    with NodeProcess(tmp_path / "home").serve(pool) as node:
        assert forked(node)["how"] == "forked"


def test_a_fork_that_cannot_load_its_model_is_not_waited_for(tmp_path: Path) -> None:
    hangs = 'import time\nif "--fork-server" in sys.argv:\n    time.sleep(1000)\n'
    pool = function_pool(tmp_path / "m", CODE.replace("print(", hangs + "print(", 1))
    with NodeProcess(tmp_path / "home").serve(pool) as node:
        for _ in range(20):
            assert waken(node)["how"] == "spawned"
            if "no fork server for this environment" in node.log():
                break
        assert "stood still" in node.log()
        assert waken(node)["how"] == "spawned"
        log = (tmp_path / "home" / "logs" / "models" / "function-1.log").read_text()
        assert "Fatal Python error: Aborted" in log and "model.py" in log  # where it stood


def test_one_server_that_hangs_is_one_failure_however_many_wait_for_it(tmp_path: Path) -> None:
    names = [f"m{number}" for number in range(6)]
    pools = [function_pool(tmp_path / name, CODE, name=name) for name in names]
    with NodeProcess(tmp_path / "home").serve(*pools) as node, ThreadPoolExecutor(6) as clients:
        forked(node, "m0")
        for name in names:
            assert node.post(f"/v2/repository/models/{name}/unload", {})[0] == 200
        for pid in servers(node):
            os.kill(pid, signal.SIGSTOP)
        answers = clients.map(lambda name: node.post(f"/models/{name}/predict", {"x": 1.0})[0], names)
        assert set(answers) == {200}
        assert "no fork server for this environment" not in node.log()
        forked(node, "m0")


def test_an_environment_that_is_built_anew_has_another_server(tmp_path: Path) -> None:
    """The former one may read what was removed and nothing else: what is not imported yet would not be found."""
    environment = tmp_path / "environment"
    modules = {"soon": "WORD = 1\n", "later": "WORD = 1\n"}
    build(environment, **modules)
    code = (
        "import os, sys\nimport soon\n"
        "def predict(x: float):\n    how = 'forked' if '--fork-server' in sys.argv else 'spawned'\n"
        "    if x > 1:\n        import later\n    return {'how': how, 'pid': os.getpid()}\n"
    )
    with NodeProcess(tmp_path / "home").serve(pool_in(environment, code)) as node:
        forked(node)
        build(environment, **modules)
        waken(node)
        assert node.post("/predict", {"x": 2.0})[0] == 200
        forked(node)
        status, answer = node.post("/predict", {"x": 2.0})
        assert (status, answer["output"]["how"]) == (200, "forked")


def test_a_model_that_wakes_keeps_the_signature_that_trying_it_came_to(tmp_path: Path) -> None:
    """A graph that gives one row for several: found out by three records at its first load, and told at the next."""
    import onnx
    from onnx import TensorProto, helper

    pool = mlp_pool(tmp_path)
    graph = helper.make_graph(
        [helper.make_node("ReduceMax", ["x"], ["y"], axes=[0], keepdims=1)],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["m", 4])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 9
    onnx.save(model, tmp_path / "model.onnx")
    signature = Signature(
        inputs=(TensorSpec(name="x", datatype="FP32", shape=(4,)),),
        outputs=(TensorSpec(name="y", datatype="FP32", shape=(4,)),),
    )
    options = {"file": "model.onnx", "signature": msgspec.to_builtins(signature)}
    pool = msgspec.structs.replace(
        pool, signature=signature, executor=msgspec.structs.replace(pool.executor, options=options)
    )
    with NodeProcess(tmp_path / "home").serve(pool) as node:
        record = {"x": [1.0, 2.0, 3.0, 4.0]}
        first = node.post("/models/mlp/predict", record)
        assert first[0] == 200, first
        told = node.status().pools[0].signature
        assert told is not None
        assert told.max_batch == 1
        for _ in range(3):
            assert node.post("/v2/repository/models/mlp/unload", {})[0] == 200
            assert node.post("/models/mlp/predict", record) == first
            assert node.status().pools[0].signature == told
