"""The catalog at the command line: no platform is needed, and what is not known is not passed off as small."""

import json
from pathlib import Path

from support.shell import Shell


def test_the_catalog_is_listed_filtered_searched_and_shown(shell: Shell) -> None:
    everything = shell.json("catalog", "list")
    assert len(everything) >= 100
    few = shell.json(
        "catalog", "list", "--category", "protein-language-model", "--commercial", "--max-memory", "4GiB"
    )
    assert 0 < len(few) < len(everything)
    assert all(each["licence"]["commercial"] for each in few)
    assert "esm2-8m" in [each["name"] for each in shell.json("catalog", "search", "esm", "8M")]
    listed = shell.run("catalog", "list", "--category", "docking").stdout
    assert listed.splitlines()[0].split() == [
        "NAME", "CATEGORY", "PARAMETERS", "MEMORY", "GPU", "LICENCE", "COMMERCIAL", "ADAPTER",
    ]  # fmt: skip
    shown = shell.run("catalog", "show", "esm2-8m").stdout
    assert "hub: facebook/esm2_t6_8M_UR50D" in shown and "read at" in shown
    assert shell.json("catalog", "show", "esm2-8m")["licence"] == {"spdx": "MIT", "commercial": True}


def test_what_is_not_there_is_said_with_what_is(shell: Shell) -> None:
    wrong = shell.run("catalog", "show", "esm2-8n", "--json")
    assert wrong.returncode == 1 and "Did you mean esm2-8m" in json.loads(wrong.stdout)["error"]
    wrong = shell.run("catalog", "list", "--category", "anything")
    assert wrong.returncode == 1 and "docking" in wrong.stderr
    assert shell.run("catalog", "list", "--max-memory", "little").returncode == 1
    assert "None of the" in shell.run("catalog", "search", "nobody-has-this-word").stdout
    for option, known in (("--adapter", "onnx"), ("--framework", "pytorch")):
        wrong = shell.run("catalog", "list", option, "anything")
        assert wrong.returncode == 1 and known in wrong.stderr
    assert "Did you mean minilm" in shell.run("catalog", "show", "MiniLM").stderr


def test_an_entry_says_how_long_its_calls_may_take_until_it_is_told_otherwise(
    shell: Shell, tmp_path: Path
) -> None:
    """The entry's own files are not needed for that: the mirror has others under its name."""
    (tmp_path / "mirror" / "igfold").mkdir(parents=True)
    (tmp_path / "mirror" / "igfold" / "model.py").write_text("def predict(x: int):\n    return x\n")
    shell.environment["MODELYARD_MIRROR"] = str(tmp_path / "mirror")

    def deployed(*options: str) -> float:
        name = shell.json("catalog", "deploy", "igfold", *options)["endpoint"]
        return shell.json("endpoints", name)["wanted"]["settings"]["serving"]["timeout"]

    said = shell.json("catalog", "show", "igfold")["timeout"]
    assert said > 30
    assert deployed() == said
    assert deployed("--timeout", "90") == 90
    assert deployed() == 90
    assert deployed("--name", "other", "--timeout", "7") == 7
