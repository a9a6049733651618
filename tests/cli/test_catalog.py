"""The catalog at the command line: no platform is needed, and what is not known is not passed off as small."""

import json

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
