"""Progress as it is seen: in a terminal, in a notebook that a real kernel runs, and where there is neither."""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from modelyard.package.environment import Environments

pytestmark = pytest.mark.timeout(600)
SRC = Path(__file__).parents[2] / "src"

STORY = """
import time
from modelyard.client.progress import StageProgress
from modelyard.client.upload_flow import event

with StageProgress() as progress:
    progress.show(event("stage_started", "upload", "Sending 1 file(s)", 0, 2000))
    while WAIT and progress._drawing is None:
        time.sleep(0.01)
    progress.show(event("progress", "upload", "bytes", 1000, 2000))
    progress.show(event("warning", "upload", "it is <large>"))
    progress.show(event("stage_done", "upload", "Sent 1 file(s)", 2000, 2000))
"""

NOTEBOOK = """
import json, sys, nbclient, nbformat
book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(sys.argv[1])])
nbclient.NotebookClient(book, kernel_name="python3", timeout=300).execute()
print(json.dumps(book.cells[0].outputs))
"""


def test_without_a_terminal_each_stage_is_a_line() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", f"WAIT = False\n{STORY}"], capture_output=True, text=True, timeout=120, check=True
    )  # fmt: skip
    warned, done = ended.stderr.splitlines()
    assert warned == "! it is <large>"
    assert done.startswith("✓ upload") and "Sent 1 file(s), 2.0 kB" in done
    assert ended.stdout == ""


def test_a_terminal_shows_a_bar_that_goes_away() -> None:
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", f"WAIT = True\n{STORY}"], stderr=theirs, env={**os.environ, "TERM": "xterm", "COLUMNS": "120"}
    ) as process:  # fmt: skip
        os.close(theirs)
        told = b""
        try:
            while piece := os.read(ours, 65536):
                told += piece
        except OSError:
            pass  # the other end is closed
        os.close(ours)
    assert process.returncode == 0
    said = told.decode()
    assert "━" in said and "Sending 1 file(s)" in said
    assert "it is <large>" in said and "✓" in said


def test_a_notebook_shows_one_output_that_changes(tmp_path: Path) -> None:
    needs = ["ipykernel", "nbclient", "nbformat", "msgspec"]
    environment = Environments(tmp_path / "environments").ensure(needs, lambda _: None)
    home = {
        "HOME": str(tmp_path),
        "IPYTHONDIR": str(tmp_path / "ipython"),
        "JUPYTER_RUNTIME_DIR": str(tmp_path / "run"),
    }
    ended = subprocess.run(
        [environment.python, "-c", NOTEBOOK, f"WAIT = False\n{STORY}"], capture_output=True, text=True, timeout=400,
        env={**os.environ, **home, "PYTHONPATH": str(SRC), "PATH": f"{Path(environment.python).parent}:{os.environ['PATH']}"},
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    (output,) = json.loads(ended.stdout.splitlines()[-1])
    assert output["output_type"] == "display_data"
    page = output["data"]["text/html"]
    assert page.startswith("<pre>! it is &lt;large&gt;\n✓ upload")
    assert "Sent 1 file(s), 2.0 kB" in page and "<progress" not in page
