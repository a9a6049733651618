"""A program to serve: what model.yaml says of it is checked before anything is run."""

from typing import Any

import pytest
import yaml

from modelyard.analyze import analyze
from modelyard.core.errors import RejectedContent

GOOD: dict[str, Any] = {
    "adapter": "command",
    "signature": {
        "inputs": [
            {"name": "receptor", "datatype": "BYTES", "kind": "bytes"},
            {"name": "smiles", "datatype": "BYTES", "kind": "text"},
            {"name": "box", "datatype": "FP64", "shape": [3], "optional": True},
        ],
        "parameters": [{"name": "seed", "type": "int"}, {"name": "fast", "type": "bool", "default": False}],
    },
    "command": {
        "run": ["dock", "{receptor:receptor.pdbqt}", "--ligand={smiles}", ["--seed", "{seed}"], ["--fast{fast?}"], ["{box}"]],
        "outputs": {"pose": {"file": "*.pdbqt"}, "scores": {"json": "scores.json"}, "best": {"match": "best: (.*)"}},
        "progress": r"(\d+)%",
        "wrong_input": [2],
    },
    "example": {"receptor": "ATOM", "smiles": "CCO"},
}  # fmt: skip


def with_(**command: Any) -> dict[str, Any]:
    return {**GOOD, "command": {**GOOD["command"], **command}}


def described(files_of, value: dict[str, Any], **more: bytes):
    return analyze(files_of({"model.yaml": yaml.safe_dump(value, sort_keys=False).encode(), **more}))


def test_its_signature_is_what_is_declared_and_what_it_leaves(files_of) -> None:
    found = described(files_of, GOOD, **{"requirements.txt": b"vina\n"})
    assert (found.format, found.adapter, found.executes) == ("command", "command", "code")
    assert found.requirements == ("vina",)
    assert found.signature is not None
    assert not found.signature.batched
    assert [(each.name, each.datatype, each.kind) for each in found.signature.outputs] == [
        ("pose", "BYTES", "bytes"),
        ("scores", "BYTES", "json"),
        ("best", "FP64", "tensor"),
    ]
    assert found.options["command"]["run"][0] == "dock"
    assert found.example == {"receptor": "ATOM", "smiles": "CCO"}


def test_the_adapter_need_not_be_named(files_of) -> None:
    assert (
        described(files_of, {key: value for key, value in GOOD.items() if key != "adapter"}).adapter
        == "command"
    )


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (with_(run=[]), "begins with the name"),
        (with_(run=["dock", "{ligand}"]), "names {ligand}"),
        (with_(run=["dock", "{box}"]), "a list of their own"),
        (with_(run=["dock", "a{b"]), "a brace"),
        (with_(run=["dock", "\0"]), "null byte"),
        (with_(outputs={}), "nothing to answer"),
        (with_(outputs={"a": {}}), "one of file, text, json and match"),
        (with_(outputs={"a": {"file": "x", "json": "y"}}), "one of file, text, json and match"),
        (with_(outputs={"a": {"file": "../x"}}), "inside the working folder"),
        (with_(outputs={"a": {"file": "/etc/passwd"}}), "inside the working folder"),
        (with_(outputs={"a": {"match": "("}}), "no regular expression"),
        (with_(outputs={"a": {"match": "x"}}), "one group"),
        (with_(files={"../x": ""}), "no path inside"),
        (with_(files={"x": "{nothing}"}), "names {nothing}"),
        (with_(stdin="{seed}"), "a list of their own"),
        (with_(environment={"A=B": ""}), "no name of a variable"),
        (with_(environment={"DATA": "{seed}"}), "names {seed}"),
        (with_(environment={"DATA": "{record}"}), "names {record}"),
        (with_(progress="["), "no regular expression"),
        (with_(other=1), "unknown field"),
        ({**GOOD, "adapter": "function"}, "belong together"),
        ({key: value for key, value in GOOD.items() if key != "command"}, "belong together"),
        ({key: value for key, value in GOOD.items() if key != "signature"}, "signature.inputs"),
        ({**GOOD, "signature": {**GOOD["signature"], "batched": True}}, "one record at a time"),
        (
            {**GOOD, "signature": {**GOOD["signature"], "outputs": [{"name": "x", "datatype": "BYTES"}]}},
            "outputs are",
        ),
    ],
)
def test_what_cannot_be_run_is_told(files_of, value: dict[str, Any], why: str) -> None:
    with pytest.raises(RejectedContent, match=why) as caught:
        described(files_of, value)
    assert caught.value.field is not None
    assert caught.value.field.startswith("model.yaml")
