"""The registry as a team uses it, by the command line: found, moved, remembered, compared, deprecated, deleted."""

import json
import re
import time
from pathlib import Path

import pytest

from support.shell import Shell

pytestmark = pytest.mark.system


def test_a_version_from_its_upload_to_its_end(shell: Shell, tmp_path: Path) -> None:
    for number in (1, 2):
        folder = tmp_path / f"v{number}"
        folder.mkdir()
        (folder / "model.py").write_text(f"def predict(x: float):\n    return x * {number}\n")
        (folder / "README.md").write_text(f"---\nlicense: mit\ntags: [money]\n---\n# Version {number}\n")
        deployed = shell.json("deploy", str(folder), "--name", "fraud")
        assert deployed["version"] == number

    # Found by what it is, and its card read.
    found = shell.json(
        "models", "search", "versi", "--licence", "MIT", "--tag", "money", "--status", "deployed"
    )
    assert [(each["model"], each["number"], each["endpoints"]) for each in found["versions"]] == [
        ("fraud", 2, ["fraud"])
    ]
    mistaken = shell.run("models", "search", "--format", "function", "--licence", "MIT")
    assert mistaken.stdout == "No version is all of that.\n"
    assert mistaken.stderr == "No version has the format function; there is python-function.\n"
    page = shell.json("models", "list", "--all-versions", "--limit", "1", "--sort", "oldest")
    rest = shell.json(
        "models", "list", "--all-versions", "--limit", "1", "--sort", "oldest", "--cursor", page["next"]
    )
    assert [each["number"] for each in (*page["versions"], *rest["versions"])] == [1, 2]
    assert rest["next"] is None
    assert "# Version 1" in shell.run("models", "card", "fraud/1").stdout
    shell.json("models", "card", "fraud", "--task", "fraud-detection", "--because", "nobody had said")
    assert "fraud-detection" in shell.run("models", "list").stdout

    metrics = tmp_path / "metrics.json"
    for told in (
        '{"auc": 0.93}',
        '[{"title": "Metrics", "columns": ["metric", "value"], "rows": [["auc", 0.9]]}]',
    ):
        metrics.write_text(told)
        assert (
            "Metrics (fraud/1)" in shell.run("models", "card", "fraud/1", "--metrics", str(metrics)).stdout
        )

    # Found by what it was measured at, the best first.
    metrics.write_text('{"AUC": 0.95, "p99 (ms)": 4}')
    shell.run("models", "card", "fraud/2", "--metrics", str(metrics))
    best = shell.json("models", "search", "--metric", "auc>=0.9", "--sort", "-metric", "--all-versions")
    assert [(each["number"], each["figures"]) for each in best["versions"]] == [
        (2, [{"name": "auc", "value": 0.95, "data": ""}]),
        (1, [{"name": "auc", "value": 0.9, "data": ""}]),
    ]
    fast = shell.run("models", "search", "--metric", "p99 (ms) < 5", "--metric", "auc").stdout
    assert "p99_ms 4, auc 0.95" in fast and "FIGURES" in fast
    none = shell.run("models", "search", "--metric", "auc>=0.99")
    assert none.stderr == "No version has the metric auc>=0.99; there is auc=0.95.\n"
    wrong = shell.run("models", "search", "--metric", "auc=>0.9")
    assert wrong.returncode != 0 and "write 'auc>=0.9'" in wrong.stderr
    unsaid = shell.run("models", "search", "--sort", "metric")
    assert unsaid.returncode != 0 and "Say which figure" in unsaid.stderr

    # An alias moves, and who lost is told.
    shell.json("models", "alias", "fraud", "production", "1", "--because", "first", "--expect", "0")
    lost = shell.run("models", "alias", "fraud", "production", "2", "--expect", "2")
    assert lost.returncode == 1 and "at version 1 now" in lost.stderr
    shell.json("models", "alias", "fraud", "production", "2", "--because", "better", "--expect", "1")
    today = time.strftime("%Y-%m-%d")
    held = shell.json("models", "history", "fraud", "--alias", "production", "--at", today)
    assert [(each["version"], each["why"]) for each in held] == [(1, "first"), (2, "better")]
    assert shell.json("models", "history", "fraud", "--at", "2001-01-01") == []
    last = shell.run("models", "history", "fraud").stdout.splitlines()[-1]
    assert "better" in last
    at = re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d ", last)  # the second, and so it can be asked for
    assert at is not None
    held = shell.json("models", "history", "fraud", "--at", at[0].strip())
    assert [each["why"] for each in held] == ["better"]

    # Named everywhere, and told when it is deprecated.
    assert shell.json("models", "show", "fraud@production")["version"]["number"] == 2
    shell.json("models", "deprecate", "fraud/1", "--because", "it drifts")
    told = shell.run("deploy", "fraud/1", "--name", "old")
    assert told.returncode == 0, told.stderr
    assert "fraud version 1 is deprecated: it drifts" in told.stdout + told.stderr
    assert "it drifts" in shell.run("endpoints", "old").stdout
    assert shell.json("deploy", "fraud@production", "--name", "shop")["version"] == 2
    unknown = shell.run("deploy", "fraud@staging", "--name", "shop")
    assert unknown.returncode == 1 and "it has production" in unknown.stderr
    for name, told in (("nothing-here", "nor a registered model."), ("Frauds", "did you mean fraud?")):
        missing = shell.run("deploy", name)
        assert missing.returncode == 2 and missing.stderr.rstrip().endswith(told)

    # Compared, and their descent known.
    compared = shell.json("models", "compare", "fraud/1", "fraud@production")
    assert {(each["what"], each["kind"]) for each in compared["files"]} == {
        ("README.md", "changed"), ("model.py", "changed"),
    }  # fmt: skip
    shell.json(
        "models", "parent", "fraud/2", "fraud/1", "--relation", "fine_tune", "--tradeoff", json.dumps({"auc": [0.9, 0.93]})
    )  # fmt: skip
    tree = shell.run("models", "lineage", "fraud/2").stdout
    assert "└─ fraud/2  fine_tune  @production  auc 0.9 → 0.93  ←" in tree

    # Deleted only when nothing uses it, and restored.
    refused = shell.run("models", "delete", "fraud/1", "--yes")
    assert refused.returncode == 1
    assert "the endpoint old" in refused.stderr and "fraud/2, which was made from it" in refused.stderr
    shell.json("models", "parent", "fraud/2", "--remove")
    shell.json("delete", "old", "--yes")
    assert shell.json("models", "delete", "fraud/1", "--yes", "--because", "old")["deleted"]["why"] == "old"
    assert shell.json("models", "search", "--status", "deleted")["versions"][0]["number"] == 1
    assert shell.json("models", "restore", "fraud/1")["deleted"] is None
