"""`make demo` itself: from the library's files to URLs that answer."""

import json
import re
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from support.shell import Shell

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]
DEMO = Path(__file__).parents[2] / "examples" / "demo.py"


def test_the_demo_ends_with_checked_answers_and_urls_that_answer(shell: Shell) -> None:
    done = subprocess.run(
        [sys.executable, str(DEMO)], env=shell.environment, capture_output=True, text=True, timeout=580
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "All answered within 0.0001 of their libraries" in done.stdout
    urls = dict(re.findall(r"predict  (http\S+/models/(\w+)/predict)", done.stdout))
    assert sorted(urls.values()) == ["magika", "minilm", "tumor"]
    (minilm,) = [url for url, name in urls.items() if name == "minilm"]
    request = urllib.request.Request(
        minilm, json.dumps({"text": "hello"}).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        assert len(json.load(response)["embedding"]) == 384
    page = re.search(r"page     (http\S+)", done.stdout)
    assert page is not None
    with urllib.request.urlopen(page[1], timeout=60) as response:
        assert b"minilm" in response.read()
