"""An ESM-2 gives what transformers gives, whatever it is batched with; weights drawn at random."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from executor.process import ExecutorProcess
from modelyard.analyze import analyze
from modelyard.analyze.transformers import TORCH
from modelyard.core.signature import Signature
from modelyard.package.environment import Environments
from modelyard.store.files import FolderFiles
from support.models import esm2_folder

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]

AMINO = "ACDEFGHIKLMNPQRSTVWYXBZUO"
SEQUENCES = [
    "M",
    "MKTVRQERLKSIVRILERSKEPVSGAQL",
    "MKT<mask>RQERLKSIVRI<mask>ERSK",
    "<mask>",
    *[
        "".join(AMINO[(start * 5 + step * step) % len(AMINO)] for step in range(start))
        for start in (7, 7, 90)
    ],
]
REFERENCE = """
import json, sys
from pathlib import Path
import numpy, torch
from transformers import EsmForMaskedLM, EsmTokenizer

torch.set_num_threads(1)
out = Path(sys.argv[1])
sequences = json.loads((out / "sequences.json").read_text())
tokenizer = EsmTokenizer(str(out / "model" / "vocab.txt"))
model = EsmForMaskedLM.from_pretrained(out / "model", attn_implementation="eager").eval()
found = {}
with torch.inference_mode():
    for number, sequence in enumerate(sequences):
        told = tokenizer(sequence, return_tensors="pt")
        answer = model(**told, output_hidden_states=True)
        for layer, state in enumerate(answer.hidden_states):
            found[f"{number}.layer{layer}"] = state[0, 1:-1].numpy()
        found[f"{number}.chances"] = answer.logits[0, 1:-1].softmax(-1).numpy()
        if sequence.replace("<mask>", "") and hasattr(model, "predict_contacts"):
            found[f"{number}.contacts"] = model.predict_contacts(told["input_ids"], told["attention_mask"])[0].numpy()
    ids = tokenizer(sequences[1], return_tensors="pt")["input_ids"]
    total = 0.0
    for place in range(1, ids.shape[1] - 1):
        hidden = ids.clone()
        hidden[0, place] = tokenizer.mask_token_id
        logs = model(input_ids=hidden, attention_mask=torch.ones_like(hidden)).logits[0, place].log_softmax(-1)
        total += float(logs[ids[0, place]])
    found["likelihood"] = numpy.array(total)
    found["standard"] = numpy.array(tokenizer.convert_tokens_to_ids(list("ACDEFGHIKLMNPQRSTVWY")))
numpy.savez(out / "reference.npz", **found)
model.esm.save_pretrained(out / "bare")
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, environments: Environments) -> Path:
    """The model's files in ``model`` (``bare``: without its language head), and transformers' answers."""
    folder = tmp_path_factory.mktemp("esm2")
    esm2_folder(folder / "model")
    (folder / "sequences.json").write_text(json.dumps(SEQUENCES))
    python = environments.ensure(TORCH).python
    (folder / "python").write_text(python)
    subprocess.run([python, "-c", REFERENCE, str(folder)], check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def reference(folder: Path) -> Any:
    return np.load(folder / "reference.npz")


@pytest.fixture(scope="module")
def executor(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ExecutorProcess]:
    with ExecutorProcess(
        tmp_path_factory.mktemp("executor"), python=(folder / "python").read_text()
    ) as process:
        hello = process.start("esm2", folder / "model", {})
        assert hello["type"] == "HELLO", hello
        assert hello["cost"] == {"cost": "length", "of": "sequence", "shape": "ragged"}
        yield process


def item(*sequences: str) -> dict[str, Any]:
    return {"sequence": np.array(sequences)}


def ask(executor: ExecutorProcess, *sequences: str, **parameters: Any) -> Any:
    return executor.batch(item(*sequences), parameters=[parameters])[0]


def close(ours: Any, theirs: Any) -> bool:
    return ours.shape == theirs.shape and bool(np.abs(ours - theirs).max() <= 2e-5)


def test_embeddings_are_the_means_of_transformers_without_begin_and_end(executor, reference) -> None:
    answers = executor.batch(*[item(sequence) for sequence in SEQUENCES])
    for number, answer in enumerate(answers):
        assert close(answer["embedding"][0], reference[f"{number}.layer2"].mean(0))


def test_the_rows_of_one_call_equal_calls_of_one_row(executor, reference) -> None:
    answer = ask(executor, *SEQUENCES)
    assert answer["length"].tolist() == [1, 28, 20, 1, 7, 7, 90]
    for number in range(len(SEQUENCES)):
        assert close(answer["embedding"][number], reference[f"{number}.layer2"].mean(0))


@pytest.mark.parametrize("layer", [0, 1, 2, -1, -3])
def test_residues_are_given_of_any_layer(executor, reference, layer: int) -> None:
    answer = ask(executor, SEQUENCES[2], include_per_residue=True, layer=layer)
    assert close(answer["per_residue"][0], reference[f"2.layer{layer % 3}"])


def test_masked_residues_get_the_probabilities_of_the_twenty(executor, reference) -> None:
    answer = ask(executor, SEQUENCES[2], include_embeddings=False)
    assert "embedding" not in answer
    assert answer["mask_positions"].tolist() == [[3, 15]]
    assert close(answer["mask_probabilities"][0], reference["2.chances"][[3, 15]][:, reference["standard"]])


def test_contacts_equal_those_of_transformers(executor, reference) -> None:
    answers = executor.batch(
        item(SEQUENCES[1]), item(SEQUENCES[6]), parameters=[{"include_contacts": True}] * 2
    )
    assert close(answers[0]["contacts"][0], reference["1.contacts"])
    assert close(answers[1]["contacts"][0], reference["6.contacts"])


def test_the_likelihood_hides_each_residue_in_its_turn(executor, reference) -> None:
    answer = ask(executor, SEQUENCES[1], include_log_likelihood=True)
    assert abs(answer["log_likelihood"][0] - reference["likelihood"]) <= 1e-3


def test_what_one_call_asks_for_is_not_given_to_its_mates(executor, reference) -> None:
    flags = [
        {"include_embeddings": False},
        {"include_per_residue": True, "layer": 1},
        {"include_contacts": True},
        {},
    ]
    answers = executor.batch(*[item(SEQUENCES[1])] * 4, parameters=flags)
    assert [sorted(answer) for answer in answers] == [
        ["length"],
        ["embedding", "length", "per_residue"],
        ["contacts", "embedding", "length"],
        ["embedding", "length"],
    ]
    assert close(answers[1]["embedding"][0], reference["1.layer1"].mean(0))
    assert close(answers[3]["embedding"][0], reference["1.layer2"].mean(0))


def test_lower_case_is_the_same_protein(executor) -> None:
    upper, lower = executor.batch(item("MKTVRQ<mask>X"), item("mktvrq<mask>x"))
    assert close(upper["embedding"], lower["embedding"])


@pytest.mark.parametrize(
    ("sequence", "says"),
    [
        ("MKTVRQERLKSIVRILEJSK", "sequence[17]: 'J' is not an amino acid"),
        ("MK TV", "sequence[2]: ' ' is not"),
        ("MKTV\n", r"sequence[4]: '\n' is not"),
        ("M<mask>é", "sequence[2]: 'é' is not"),
        ("M<cls>", "sequence[1]: '<' is not"),
        ("MK\x01TV", r"sequence[2]: '\x01' is not"),
        ("MK-TV", "sequence[2]: '-' is not"),
        ("", "sequence is empty"),
        ("A" * 1023, "has 1023 residues; the model reads at most 1022"),
    ],
)
def test_what_is_no_protein_is_refused_with_its_place(executor, sequence: str, says: str) -> None:
    wrong, right = executor.batch(item(sequence), item("MKT"))
    assert (wrong["code"], wrong["field"]) == ("invalid_input", "inputs.sequence")
    assert says in wrong["message"]
    assert right["length"].tolist() == [3]


def test_the_longest_protein_is_computed_whole(executor) -> None:
    answer = ask(executor, "A" * 1022, include_per_residue=True)
    assert answer["per_residue"].shape == (1, 1022, 64)


def test_residues_of_unequal_rows_and_layers_that_are_not_there_are_refused(executor) -> None:
    assert "different lengths" in ask(executor, "MK", "MKT", include_per_residue=True)["message"]
    assert ask(executor, "MK", "MT", include_per_residue=True)["per_residue"].shape == (2, 2, 64)
    assert ask(executor, "MK", layer=3)["field"] == "parameters.layer"
    assert ask(executor, "MK", layer=-4)["field"] == "parameters.layer"


def test_a_model_without_its_heads_offers_embeddings_alone(folder, reference, tmp_path) -> None:
    with ExecutorProcess(tmp_path, python=(folder / "python").read_text()) as process:
        hello = process.start("esm2", folder / "bare", {})
        names = [parameter["name"] for parameter in hello["signature"]["parameters"]]
        assert "include_log_likelihood" not in names
        answer = process.batch(item(SEQUENCES[2]))[0]
        assert sorted(answer) == ["embedding", "length"]
        assert close(answer["embedding"][0], reference["2.layer2"].mean(0))


def test_bfloat16_is_computed_when_it_is_asked_for(folder, reference, tmp_path) -> None:
    with ExecutorProcess(tmp_path, python=(folder / "python").read_text()) as process:
        assert process.start("esm2", folder / "model", {"precision": "bfloat16"})["type"] == "HELLO"
        ours, theirs = process.batch(item(SEQUENCES[6]))[0]["embedding"][0], reference["6.layer2"].mean(0)
        assert not close(ours, theirs)
        assert ours @ theirs / np.linalg.norm(ours) / np.linalg.norm(theirs) > 0.99


def test_files_that_are_not_an_esm2_are_told_as_that(folder, tmp_path) -> None:
    esm2_folder(tmp_path / "model", dims=32)
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    for change, says in (
        ({"position_embedding_type": "absolute"}, "not that of an ESM-2"),
        ({"hidden_size": 64}, "config.json says"),
        ({"num_hidden_layers": 3}, "the weights have no esm.encoder.layer.2"),
    ):
        (tmp_path / "model" / "config.json").write_text(json.dumps(config | change))
        with ExecutorProcess(tmp_path, python=(folder / "python").read_text()) as process:
            failed = process.start("esm2", tmp_path / "model", {})
            assert says in failed["message"], failed


def test_analysis_and_adapter_agree_on_the_signature(folder, tmp_path) -> None:
    for name in ("model", "bare"):
        analysis = analyze(FolderFiles(folder / name))
        with ExecutorProcess(tmp_path, python=(folder / "python").read_text()) as process:
            hello = process.start("esm2", folder / name, {})
            assert msgspec.convert(hello["signature"], Signature) == analysis.signature
