"""Programs behind the executor: called with what a record says, and answered with what they leave."""

import os
import signal
from pathlib import Path
from typing import Any

import yaml

from executor.process import ExecutorProcess
from fuzz.files import Files
from modelyard.analyze import analyze
from support.node import wait_until

PROGRAM = """
import json, os, sys, time
from pathlib import Path
asked = dict(each.split("=", 1) if "=" in each else (each, True) for each in sys.argv[1:])
if "--wrong" in asked:
    sys.exit("the sequence is none")
if "--crash" in asked:
    os.abort()
Path("seen.json").write_text(json.dumps({"asked": asked, "here": sorted(os.listdir()), "threads": os.environ["OMP_NUM_THREADS"]}))
if "--file" in asked:
    Path("poses").mkdir()
    Path("poses/1.bin").write_bytes(Path(asked["--file"]).read_bytes()[::-1])
for step in range(1, 4):
    print(f"step {step} of 3", flush=True)
    time.sleep(0.06 if "--slow" in asked else 0)
print("affinity: -7.25")
while "--hang" in asked:
    time.sleep(0.05)
"""
INPUTS = [
    {"name": "data", "datatype": "BYTES", "kind": "bytes", "optional": True},
    {"name": "text", "datatype": "BYTES", "kind": "text", "optional": True},
    {"name": "count", "datatype": "INT64", "optional": True},
]
FLAGS = ("wrong", "crash", "slow", "hang")
PARAMETERS: list[dict[str, Any]] = [
    *({"name": each, "type": "bool", "default": False} for each in FLAGS),
    {"name": "mode", "type": "string"},
]
RUN = [
    "python", "{folder}/program.py", "--threads={threads}", ["--file={data:a.bin}"], ["--text={text}"], ["{text}"],
    ["--count={count}"], ["{mode}"], *[[f"--{each}{{{each}?}}"] for each in FLAGS],
]  # fmt: skip
SEEN = {"seen": {"json": "seen.json"}}


class Served:
    """A command in an executor."""

    def __init__(
        self, tmp_path: Path, outputs: dict[str, Any], run: list[Any] = RUN, **command: Any
    ) -> None:
        files = tmp_path / "files"
        files.mkdir(exist_ok=True)
        (files / "program.py").write_text(PROGRAM)
        told = {
            "signature": {
                "inputs": INPUTS,
                "parameters": PARAMETERS,
            },
            "command": {"run": run, "outputs": outputs, **command},
        }
        analysis = analyze(
            Files({"model.yaml": yaml.safe_dump(told).encode(), "program.py": PROGRAM.encode()})
        )
        self.executor = ExecutorProcess(tmp_path)
        self.hello = self.executor.start("command", files, analysis.options)

    def __enter__(self) -> "Served":
        return self

    def __exit__(self, *exc: Any) -> None:
        self.executor.__exit__(*exc)

    def ask(self, record: dict[str, Any] | None = None, **parameters: Any) -> Any:
        assert self.hello["type"] == "HELLO", self.hello
        return self.executor.batch(record or {}, parameters=[parameters])[0]


def value(answer: Any, name: str = "seen") -> Any:
    import json

    return json.loads(answer[name].item())


def test_a_record_becomes_arguments_and_files(tmp_path: Path) -> None:
    outputs = {
        **SEEN,
        "pose": {"file": "poses/*.bin"},
        "affinity": {"match": r"affinity: (\S+)"},
        "said": {"text": "stdout"},
    }
    with Served(tmp_path, outputs, files={"in.fasta": ">{threads}\n"}) as served:
        import numpy as np

        answer = served.ask({"data": np.array(b"\x00abc", dtype=object), "count": np.int64(3)})
    assert answer["pose"].item() == b"cba\x00"
    assert answer["affinity"].item() == -7.25
    assert answer["said"].item().startswith(b"step 1 of 3\n")
    seen = value(answer)
    assert seen["asked"]["--count"] == "3"
    assert seen["asked"]["--file"].endswith("/given/a.bin")
    assert seen["here"] == ["in.fasta"]
    assert (seen["threads"], seen["asked"]["--threads"]) == ("1", "1")
    assert "--text" not in seen["asked"]
    assert "--slow" not in seen["asked"]


def test_a_text_cannot_be_an_option(tmp_path: Path) -> None:
    import numpy as np

    with Served(tmp_path, SEEN) as served:
        refused = served.ask({"text": np.array("--hang", dtype=object)})
        passed = served.ask({"text": np.array("a; rm -rf $HOME `x` --hang", dtype=object)})
        null = served.ask({"text": np.array("a\0b", dtype=object)})
    assert (refused["code"], refused["field"]) == ("invalid_input", "inputs.text")
    assert value(passed)["asked"]["--text"] == "a; rm -rf $HOME `x` --hang"  # no shell reads it
    assert null["code"] == "invalid_input"


def test_neither_can_the_text_of_a_parameter_nor_can_one_be_longer_than_arguments_are(
    tmp_path: Path,
) -> None:
    import numpy as np

    with Served(tmp_path, SEEN) as served:
        long = served.ask({"text": np.array("ü" * 70_000, dtype=object)})
        assert (long["code"], long["field"]) == ("invalid_input", "inputs.text")
        assert "argument of 140007 bytes" in long["message"]
        refused = served.ask({"text": np.array("a", dtype=object)}, mode="--hang")
        assert (refused["code"], refused["field"]) == ("invalid_input", "parameters.mode")


def test_how_it_ended_is_told(tmp_path: Path) -> None:
    with Served(tmp_path, {**SEEN, "other": {"file": "other.txt"}}, wrong_input=[1]) as served:
        wrong, crash, missing = served.ask(wrong=True), served.ask(crash=True), served.ask()
    assert (wrong["code"], "the sequence is none" in wrong["message"]) == ("invalid_input", True)
    assert (crash["code"], "killed by signal 6" in crash["message"]) == ("internal", True)
    assert "there is no other.txt; it wrote: seen.json" in missing["message"]


def test_no_link_is_followed_out_of_the_working_folder(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("never")
    run = ["python", "-c", f"import os; os.symlink({str(secret)!r}, 'out')"]
    with Served(tmp_path, {"out": {"file": "out"}}, run) as served:
        assert "there is no out" in served.ask()["message"]


def test_a_program_that_is_not_here_is_told_at_once(tmp_path: Path) -> None:
    with Served(tmp_path, SEEN, ["no-such-program"]) as served:
        assert served.hello["type"] == "FAILED"
        assert "no program 'no-such-program'" in served.hello["message"]


def test_what_it_reads_and_what_is_left_out(tmp_path: Path) -> None:
    import numpy as np

    with Served(tmp_path, {"out": {"text": "stdout"}}, ["cat"], stdin="{threads}{{x}}") as served:
        assert served.ask()["out"].item() == b"1{x}"
    record = [["python", "-c", "print(open(__import__('sys').argv[1]).read())", "{record}"]]
    with Served(tmp_path, {"out": {"json": "stdout"}}, record[0]) as served:
        told = value(served.ask({"count": np.int64(5), "data": np.array(b"x", dtype=object)}), "out")
    assert (told["count"], told["data"].endswith("/given/data"), told["hang"]) == (5, True, False)


def test_it_says_how_far_it_is_and_ends_when_nobody_waits(tmp_path: Path) -> None:
    with Served(tmp_path, SEEN, progress=r"step (\d+) of (\d+)") as served:
        served.executor.socket.settimeout(60)
        channel = served.executor.channel
        channel.send({"type": "PING"})
        assert channel.receive()[0] == {"type": "PONG"}
    files = tmp_path / "files"
    with ExecutorProcess(tmp_path) as executor:
        options = analyze(
            Files({"model.yaml": yaml.safe_dump({
                "signature": {"inputs": INPUTS, "parameters": PARAMETERS},
                "command": {"run": RUN, "outputs": SEEN, "progress": r"step (\d+) of (\d+)"},
            }).encode()})
        ).options  # fmt: skip
        executor.channel.send({
            "type": "START", "versions": [2], "adapter": "command", "files": str(files), "device": "cpu", "threads": 1,
            "options": options, "trusted": False, "progress": True,
        })  # fmt: skip
        assert executor.channel.receive()[0]["type"] == "HELLO"
        executor.channel.send(
            {"type": "BATCH", "batch": 7, "items": [{"inputs": [], "parameters": {"hang": True}}]}
        )
        # Steps that follow each other too closely are not told each, and the last one always is.
        fractions: list[float | None] = []
        while not fractions or fractions[-1] != 1.0:
            told, _ = executor.channel.receive()
            assert (told["type"], told["batch"]) == ("PROGRESS", 7)
            fractions.append(told["fraction"])
        steps = [round(each, 2) for each in fractions if each is not None]
        assert steps == sorted(steps) and set(steps) <= {0.33, 0.67, 1.0}
        assert None not in fractions[fractions.index(next(each for each in fractions if each)) :]
        child = wait_until(lambda: children(executor.process.pid), what="the program")[0]
        executor.channel.send({"type": "CANCEL", "batch": 7, "items": [0]})
        while (header := executor.channel.receive()[0])["type"] == "PROGRESS":
            pass
        assert header["items"][0]["error"]["code"] == "cancelled"
        wait_until(lambda: not alive(child), what="the program's end")


def test_what_it_leaves_running_ends_with_it(tmp_path: Path) -> None:
    start = "subprocess.Popen(['sleep', '1000'], start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).pid"
    run = ["python", "-c", f"import subprocess; print({start})"]
    with Served(tmp_path, {"pid": {"text": "stdout"}}, run) as served:
        left = int(served.ask()["pid"].item())
        wait_until(lambda: not alive(left), what="the end of what it left")
        assert served.ask()["pid"].item() != str(left).encode()  # and the next one runs


def test_it_ends_with_its_executor(tmp_path: Path) -> None:
    with Served(tmp_path, SEEN) as served:
        served.executor.channel.send(
            {"type": "BATCH", "batch": 1, "items": [{"inputs": [], "parameters": {"hang": True}}]}
        )
        child = wait_until(lambda: children(served.executor.process.pid), what="the program")[0]
        os.kill(served.executor.process.pid, signal.SIGKILL)
        wait_until(lambda: not alive(child), what="the program's end")


def children(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


OUT = {"out": {"text": "stdout"}}
DATA = {"DATA": "{folder}/x:{threads}"}


def test_it_gets_the_variables_of_its_author(tmp_path: Path) -> None:
    run = ["python", "-c", "import os, sys; print(os.environ['DATA']); sys.exit('no licence')"]
    with Served(tmp_path, OUT, run, environment=DATA) as served:
        assert "no licence" in served.ask()["message"]
    run = ["python", "-c", "import os; print(os.environ['DATA'])"]
    with Served(tmp_path, OUT, run, environment=DATA) as served:
        assert served.ask()["out"].item().decode().strip() == f"{tmp_path / 'files'}/x:1"


def test_one_that_ends_well_without_its_output_is_quoted(tmp_path: Path) -> None:
    run = ["python", "-c", "import sys; print('skipping: bad sequence', file=sys.stderr)"]
    with Served(tmp_path, {"out": {"file": "out"}}, run) as served:
        assert served.ask()["message"].endswith("it wrote: nothing. It said: skipping: bad sequence")
