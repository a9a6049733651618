"""How commands answer when nothing runs, when they are used wrongly, and how fast they begin."""

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from support.shell import PROGRAM, Shell

COMMANDS = [
    ["up"], ["down"], ["status"], ["doctor"], ["migrate"], ["backup"], ["restore"], ["deploy"], ["analyze"], ["jobs"],
    ["predict"], ["endpoints"], ["logs"], ["delete"], ["models"], ["models", "list"], ["models", "show"],
    ["models", "delete"], ["models", "sign"], ["models", "verify"], ["models", "sbom"], ["models", "scan"], ["environments"],
    *(["models", each] for each in ("search", "card", "alias", "history", "lineage", "parent", "compare", "deprecate", "restore")),
    ["environments", "list"], ["environments", "show"], ["environments", "sbom"], ["environments", "clean"],
    ["store", "usage"], ["store", "verify"], ["store", "collect"],
    ["remotes", "list"], ["remotes", "add"], ["remotes", "remove"], ["remotes", "set"],
    ["catalog", "list"], ["catalog", "search"], ["catalog", "show"], ["catalog", "fetch"], ["catalog", "deploy"],
]  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_can_answer_in_json(shell: Shell, command: list[str]) -> None:
    assert "--json" in shell.run(*command, "--help").stdout


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_an_unknown_option_is_wrong_use(shell: Shell, command: list[str]) -> None:
    done = shell.run(*command, "--no-such-option")
    assert (done.returncode, done.stdout) == (2, "")
    assert "--no-such-option" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["deploy", "/no/such/file"],
        ["deploy", __file__, "--memory", "much"],
        ["deploy", __file__, "--replicas", "0"],
        ["deploy", __file__, "--timeout", "nan"],
        ["predict", "x", "--set", "y"],
        ["predict", "x", "--parameter", "=1"],
        ["predict", "x", "-i", "/no/such/file"],
        ["jobs", "--state", "odd"],
        ["jobs", "--cancel"],
        ["logs", "x", "--follow", "--json"],
        ["up", "--port", "70000"],
        ["models", "--json", "show", "x"],
        ["no-such-command"],
    ],
    ids=" ".join,
)
def test_wrong_use_exits_with_2(shell: Shell, arguments: list[str]) -> None:
    done = shell.run(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Error" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["deploy", "./nothing.onnx"], "There is no file or folder './nothing.onnx'."),
        (["deploy", "nothing"], "neither a file or folder here, nor an entry of the catalog; which models"),
        (["deploy", "minilm"], "The catalog has it: modelyard catalog deploy minilm"),
        (["deploy", "foo://x"], "Nothing can be fetched from foo://; what is taken is a file or a folder here, hf://"),
        (["models", "push", "foo://x"], "Nothing can be fetched from foo://; what is taken is"),
        (["models", "push", "nothing"], "There is no file or folder 'nothing'."),
        (["analyze", "minilm"], "There is no file or folder 'minilm'."),
    ],
)  # fmt: skip
def test_a_model_that_is_nowhere_is_told_by_what_may_be_named(
    shell: Shell, arguments: list[str], told: str
) -> None:
    done = shell.run(*arguments)
    assert done.returncode == 2 and told in done.stderr


@pytest.mark.parametrize(
    "command", [["endpoints"], ["models"], ["jobs"], ["logs", "x"], ["delete", "x", "--yes"]]
)
def test_without_a_platform_the_error_says_what_to_do(shell: Shell, command: list[str]) -> None:
    done = shell.run(*command, "--json")
    assert done.returncode == 1
    assert "modelyard up" in done.stderr
    assert json.loads(done.stdout)["code"] == "unavailable"


def test_a_setting_that_is_unknown_is_named(shell: Shell) -> None:
    shell.environment["MODELYARD_CONTROL_PROT"] = "1"
    done = shell.run("up")
    assert done.returncode == 1
    assert "MODELYARD_CONTROL_PROT" in done.stderr


def test_down_and_status_with_nothing_running_are_no_failure(shell: Shell) -> None:
    assert shell.json("down") == {"stopped": False}
    assert shell.json("status")["running"] is False
    assert "nothing to stop" in shell.run("down").stdout


def test_the_version_is_told(shell: Shell) -> None:
    import modelyard

    assert shell.run("--version").stdout == f"{modelyard.__version__}\n"


def test_a_reader_that_has_enough_is_no_error(shell: Shell) -> None:
    command = " ".join(PROGRAM) + " deploy --help | head -1"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], env=shell.environment, capture_output=True
    )
    assert b"Traceback" not in done.stderr


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys, modelyard.cli.main\n"
        "heavy = ('rich', 'httpx', 'msgspec', 'fastapi', 'sqlalchemy', 'asyncio', 'jinja2', 'numpy', 'uvicorn')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], text=True, capture_output=True, check=True)
    assert done.stdout.strip() == "[]"


def test_help_answers_at_once(shell: Shell) -> None:
    """The budget is 150 ms on a quiet machine (bench measures it); this only catches a heavy import.

    Counted is the processor's time: how long a command waits for its turn says nothing about it.
    """
    times: list[float] = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        shell.run("--help")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(times) < 0.4


def test_a_folder_with_strange_modules_is_not_searched(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('wrong json')")
    done = subprocess.run([*PROGRAM, "status"], cwd=tmp_path, env=shell.environment, capture_output=True)
    assert done.returncode == 0
