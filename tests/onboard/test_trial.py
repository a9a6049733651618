"""A model tried in a process of its own."""

from pathlib import Path

import pytest

from modelyard.core.errors import RejectedContent
from modelyard.onboard import Trial, attempt, write
from modelyard.package.environment import Environments
from support.interpreters import another, minor
from support.projects import MOODY, Project, looked


def tried(
    project: Project, tmp_path: Path, readme: str, core: str | None = None, timeout: float = 60.0
) -> Trial:
    files = {**MOODY, "README.md": readme + " " * 300}
    if core is not None:
        files["moody/core.py"] = core
    found = looked(project(files))
    write(found, tmp_path / "model")
    return attempt(
        tmp_path / "model",
        Environments(tmp_path / "environments"),
        timeout=timeout,
        progress=lambda _: None,
    )


CALL = "```python\nfrom moody import score\nscore('so good')\n```\n"


def core(body: str, head: str = "") -> str:
    return f"{head}\nclass Analyzer: ...\n\ndef score(text):\n    {body}\n"


def test_its_example_is_answered(project: Project, tmp_path: Path):
    trial = tried(project, tmp_path, CALL)
    assert trial.answer == {"output": 1.0}
    assert trial.repeatable
    assert trial.memory > 0


def test_an_object_is_answered_by_what_it_holds(project: Project, tmp_path: Path):
    readme = "```python\nfrom moody import Analyzer\nprint(Analyzer('en').analyze('good good'))\n```\n"
    assert tried(project, tmp_path, readme).answer == {"output": {"label": "good", "score": 2}}


@pytest.mark.parametrize(
    ("body", "head", "why"),
    [
        ("return text", "raise ImportError('no nonsense here')", "no nonsense here"),
        ("import yaml2; return text", "", "--requirement yaml2"),
        ("raise ValueError('not today')", "", "not today"),
        ("raise ConnectionError('nobody there')", "", "leave with --network"),
        ("return text", "import os; os._exit(3)", "its process ended"),
        ("import time; time.sleep(60)", "", "longer than 3 s"),
        ("return lambda: 1", "", "JSON has no word"),
    ],
    ids=["import", "missing", "raises", "no network", "dies", "hangs", "no JSON"],
)
def test_what_goes_wrong_is_told(project: Project, tmp_path: Path, body: str, head: str, why: str):
    with pytest.raises(RejectedContent, match=why):
        tried(project, tmp_path, CALL, core(body, head), timeout=3.0 if "sleep" in body else 60.0)


def test_what_answers_differently_is_noted(project: Project, tmp_path: Path):
    trial = tried(project, tmp_path, CALL, core("import random; return random.random()"))
    assert not trial.repeatable


def test_it_has_no_network_where_this_machine_can_take_it_away(project: Project, tmp_path: Path):
    asked = "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).close()"
    body = f"""
    import socket
    try:
        {asked}
    except PermissionError:
        return 'refused'
    return 'had'"""
    trial = tried(project, tmp_path, CALL, core(body))
    assert trial.answer == {"output": "had" if trial.network else "refused"}


def test_it_reads_nothing_but_its_own(project: Project, tmp_path: Path):
    (tmp_path / "secret").write_text("very")
    body = f"import os; return open({str(tmp_path / 'secret')!r}).read()"
    held = tried(project, tmp_path / "held", CALL, core("return open('/proc/self/status').read()"))
    if "NoNewPrivs:\t1" not in held.answer["output"]:
        pytest.skip("this machine cannot hold files")
    with pytest.raises(RejectedContent, match="PermissionError"):
        tried(project, tmp_path, CALL, core(body))


def test_it_sees_none_of_our_variables(project: Project, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("MODELYARD_API_KEY", "very secret")
    trial = tried(project, tmp_path, CALL, core("import os; return sorted(os.environ)"))
    assert "MODELYARD_API_KEY" not in trial.answer["output"]


def test_it_is_tried_on_the_python_that_it_is_to_run_on(project: Project, tmp_path: Path):
    other = another()
    body = "import platform; return platform.python_version()"
    found = looked(project({**MOODY, "moody/core.py": core(body), "README.md": CALL + " " * 300}))
    write(found, tmp_path / "model")
    environments = Environments(tmp_path / "environments")
    trial = attempt(tmp_path / "model", environments, python=minor(other), progress=lambda _: None)
    assert trial.answer == {"output": other.version}
    assert environments.get(trial.environment).interpreter == other.identity


def test_what_the_machine_lacks_is_told_first(project: Project, tmp_path: Path):
    found = looked(
        project({**MOODY, "Dockerfile": "RUN apt-get install no-such-thing", "README.md": CALL + " " * 300})
    )
    write(found, tmp_path / "model")
    with pytest.raises(RejectedContent, match="apt-get install no-such-thing"):
        attempt(tmp_path / "model", Environments(tmp_path / "environments"), progress=lambda _: None)
