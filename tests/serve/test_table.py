"""The table of routes: what a node follows, keeps, refuses; and its start."""

import json
import sys

from support.models import function_pool, mlp_pool
from support.node import NodeProcess, wait_until


def test_an_older_table_is_refused_and_a_broken_one_told(tmp_path) -> None:
    from support.node import KEY

    with NodeProcess(tmp_path / "home").serve(mlp_pool(tmp_path / "mlp")) as node:
        headers = {"authorization": f"Bearer {KEY}"}
        assert node.call("PUT", "/node/routes", b'{"generation": 0}', headers)[0] == 409
        assert node.call("PUT", "/node/routes", b'{"generation": 9, "color": 1}', headers)[0] == 400
        route = b'{"generation": 9, "routes": [{"endpoint": "a", "deployment": "b"}]}'
        assert node.call("PUT", "/node/routes", route, headers)[0] == 400
        assert node.post("/predict", {"x": [0.0] * 64})[0] == 200


def test_a_table_that_cannot_be_kept_is_refused_and_the_old_one_serves(tmp_path) -> None:
    import msgspec

    from modelyard.core.routes import RouteTable
    from support.node import KEY

    with NodeProcess(tmp_path / "home").serve(mlp_pool(tmp_path / "mlp")) as node:
        headers = {"authorization": f"Bearer {KEY}"}
        empty = msgspec.json.encode(RouteTable(generation=9))
        kept = node.home.routes.read_bytes()
        node.home.routes.unlink()
        node.home.routes.mkdir()  # a file cannot take the place of a folder, not even for root
        status, _, body = node.call("PUT", "/node/routes", empty, headers)
        assert (status, json.loads(body)["code"]) == (503, "unavailable")
        assert node.status().generation == 1
        assert node.post("/predict", {"x": [0.0] * 64})[0] == 200
        assert sorted(path.name for path in node.home.run.glob(".routes*")) == []
        node.home.routes.rmdir()
        node.home.routes.write_bytes(kept)
        assert node.call("PUT", "/node/routes", empty, headers)[0] == 204
        assert node.post("/predict", {"x": [0.0] * 64})[0] == 404


def test_a_kept_table_is_whole_on_the_disk_before_it_takes_its_name(tmp_path, monkeypatch) -> None:
    import os
    from pathlib import Path

    from modelyard.core.routes import RouteTable
    from modelyard.serve import table

    path = tmp_path / "run" / "routes.json"
    table.save(path, RouteTable(generation=1))
    story: list[str] = []
    sync, replace = os.fsync, Path.replace

    def fsync(descriptor: int) -> None:
        assert table.load(path).generation == 1
        story.append("fsync")
        sync(descriptor)

    def renamed(source: Path, target: Path) -> Path:
        assert table.load(source).generation == 2
        story.append("rename")
        return replace(source, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", renamed)
    table.save(path, RouteTable(generation=2))
    assert story[:2] == ["fsync", "rename"]
    assert table.load(path).generation == 2
    assert [each.name for each in path.parent.iterdir()] == ["routes.json"]


def test_a_kept_table_that_cannot_be_read_does_not_stop_the_node(tmp_path) -> None:
    node = NodeProcess(tmp_path / "home")
    node.home.routes.write_bytes(b'{"generation": 3, "pools": [')
    with node:
        assert node.get("/health")[0] == 200
        assert "cannot be read" in node.log()
        assert node.status().generation == 0


def test_a_replaced_pool_drains_and_the_new_one_answers(tmp_path) -> None:
    go = tmp_path / "go"
    slow = (
        "import os, time\ndef predict(x: float):\n"
        f"    while x and not os.path.exists({str(go)!r}):\n        time.sleep(0.01)\n    return 'old'\n"
    )
    with NodeProcess(tmp_path / "home").serve(function_pool(tmp_path / "a", slow, max_batch=1)) as node:
        import threading

        import msgspec

        answers: list[tuple[int, dict]] = []
        calls = [
            threading.Thread(target=lambda: answers.append(node.post("/predict", {"x": 1.0})))
            for _ in range(4)
        ]
        for call in calls:
            call.start()
        wait_until(lambda: node.status().pools[0].queued == 3, what="three that wait for the first")
        new = function_pool(tmp_path / "b", "def predict(x: float):\n    return 'new'\n")
        new = msgspec.structs.replace(new, deployment="function-2", version=2)
        node.serve(new)
        go.touch()
        for call in calls:
            call.join()
        assert [status for status, _ in answers] == [200] * 4
        assert {answer["output"] for _, answer in answers} == {"old"}
        wait_until(lambda: node.get("/ready")[0] == 200)
        assert node.post("/predict", {"x": 1.0}) == (200, {"output": "new"})
        wait_until(lambda: len(node.status().pools) == 1, what="the old pool's end")


def test_keys_are_asked_for_when_the_table_has_them(tmp_path) -> None:
    import hashlib

    known = hashlib.sha256(b"right").hexdigest()
    with NodeProcess(tmp_path / "home").serve(mlp_pool(tmp_path / "mlp"), keys=(known,)) as node:
        body = {"x": [0.0] * 64}
        assert node.post("/predict", body)[0] == 401
        assert node.post("/predict", body, {"authorization": "Bearer wrong"})[0] == 401
        assert node.post("/predict", body, {"authorization": "Bearer right"})[0] == 200
        assert node.get("/health")[0] == 200


def test_an_empty_node_says_how_to_begin(tmp_path) -> None:
    with NodeProcess(tmp_path / "home") as node:
        assert node.get("/ready")[0] == 200
        status, answer = node.post("/predict", {})
        assert (status, answer["code"]) == (404, "not_found")
        assert "modelyard deploy" in answer["error"]


def test_a_second_node_on_one_home_is_refused(tmp_path) -> None:
    import os
    import subprocess

    with NodeProcess(tmp_path / "home"):
        second = subprocess.run(
            [sys.executable, "-m", "modelyard.serve"],
            env={
                "PATH": os.environ["PATH"],
                "MODELYARD_HOME": str(tmp_path / "home"),
                "MODELYARD_NODE_PORT": "0",
                "MODELYARD_GRPC_PORT": "0",
            },
            capture_output=True,
            timeout=120,
        )
        assert second.returncode == 1
        assert b"Another node" in second.stderr


def test_off_loopback_it_does_not_start_without_authentication(tmp_path) -> None:
    import os
    import subprocess

    refused = subprocess.run(
        [sys.executable, "-m", "modelyard.serve"],
        env={"PATH": os.environ["PATH"], "MODELYARD_HOME": str(tmp_path), "MODELYARD_NODE_HOST": "0.0.0.0"},
        capture_output=True,
        timeout=120,
    )
    assert refused.returncode == 1
    assert b"authentication" in refused.stderr


def test_equal_parts_of_a_table_are_one_object_and_nothing_else_changes(tmp_path) -> None:
    import msgspec

    from modelyard.core.routes import Route, RouteTable
    from modelyard.serve.table import shared

    pool = mlp_pool(tmp_path / "mlp")
    pools = tuple(
        msgspec.structs.replace(
            pool, deployment=f"d{number}", endpoint=f"e{number}", example={"x": [number]}
        )
        for number in range(3)
    )
    routes = tuple(Route(endpoint=each.endpoint, deployment=each.deployment) for each in pools)
    text = msgspec.json.encode(RouteTable(generation=1, pools=pools, routes=routes, keys=("k",)))

    def read() -> RouteTable:
        return msgspec.json.decode(text, type=RouteTable)

    first = shared(read(), RouteTable())
    assert first == read() and msgspec.json.encode(first) == text
    one, two, three = first.pools
    assert one.signature is two.signature is three.signature
    assert one.executor.python is two.executor.python and one.serving is two.serving
    assert one.executor.options["signature"] is two.executor.options["signature"]
    assert one.deployment is first.routes[0].deployment
    # A table that comes later has the pools that are there already, and the parts of those.
    later = msgspec.structs.replace(
        read(), generation=2, pools=(pools[0], msgspec.structs.replace(pools[1], replicas=2))
    )
    text = msgspec.json.encode(later)
    then = shared(read(), first)
    assert then == read()
    assert then.pools[0] is one and then.pools[1] is not two
    assert then.pools[1].signature is one.signature
