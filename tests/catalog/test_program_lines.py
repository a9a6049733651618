"""What each program of the catalog is called with: a record becomes these very arguments and files.

No program is run. What their own parsers say of the arguments is in ``tests/system/test_program_parsers.py``.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from modelyard.catalog.catalog import load
from support.programs import Laid

SEQUENCE = "MKTVRQERLKSIVRILERSKEPVSGAQLAEELSVSRQVIVQDIAYLRSLGYNIVATPRGYVLAGG"


@pytest.fixture
def laid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    return lambda name, device="cpu": Laid(name, tmp_path, monkeypatch, device)


def test_spliceai(laid) -> None:
    program = laid("spliceai")
    assert program.line(variants=b"x") == (
        "spliceai -I G/variants.vcf -O scored.vcf -R F/genome.fa -A grch38 -D 50"
    )
    assert program.line(variants=b"x", genome=b"y", genes=b"z", grch37=True, mask=True, distance=500) == (
        "spliceai -I G/variants.vcf -O scored.vcf -R F/genome.fa -R G/genome.fa -A grch38 -A grch37 -A G/genes.txt "
        "-D 500 -M 1"
    )
    assert (program.given / "genes.txt").read_bytes() == b"z"


def test_piper(laid) -> None:
    program = laid("piper-voices", "cuda:0")
    assert program.line(text="Hello.", speaker=3) == (
        "python F/voice.py F/weights --cuda=cuda:0 -- -i G/text.txt -f speech.wav --speaker=3 --length-scale=1.0 "
        "--sentence-silence=0.0"
    )
    plan = program.driver("voice").plan
    with pytest.raises(ValueError, match="there are none at all"):
        plan(program.weights, [])
    (program.weights / "b").mkdir()
    for voice in ("a.onnx", "b/en-b.onnx"):
        (program.weights / voice).touch()
    assert (
        program.short(plan(program.weights, ["--voice=en-b", "--cuda=cuda:0"]))
        == "-m F/weights/b/en-b.onnx --cuda"
    )
    for wrong in ([], ["--voice=../b/en-b"], ["--voice=/etc/passwd"]):
        with pytest.raises(ValueError, match="is no voice that is here; there are a, en-b"):
            plan(program.weights, wrong)


def test_boltz_of_a_sequence(laid) -> None:
    program = laid("boltz-2")
    assert program.line(sequence=SEQUENCE) == "python F/predict.py G/record.json F/weights cpu"
    record = program.driven(sequence="mka:GG", ligand="CCO", affinity=True, seed=4, samples=3)
    files, arguments = program.driver("predict").plan(record, "cuda:1", "boltz2")
    assert program.short(arguments) == (
        "boltz predict input.yaml --out_dir out --cache cache --model boltz2 --accelerator gpu --devices 1 "
        "--recycling_steps 3 --sampling_steps 200 --diffusion_samples 3 --output_format mmcif --num_workers 0 "
        "--preprocessing-threads 1 --seed 4 --no_kernels"
    )
    assert {name: json.loads(text) for name, text in files.items()} == {
        "input.yaml": {
            "version": 1,
            "sequences": [
                {"protein": {"id": "A", "sequence": "MKA", "msa": "empty"}},
                {"protein": {"id": "B", "sequence": "GG", "msa": "empty"}},
                {"ligand": {"id": "C", "smiles": "CCO"}},
            ],
            "properties": [{"affinity": {"binder": "C"}}],
        }
    }
    files, arguments = program.driver("predict").plan(
        program.driven(sequence="MKA", alignment=">q\nMKA\n", kernels=True, potentials=True),
        "cpu",
        "boltz1",
    )
    assert files["alignment.a3m"] == ">q\nMKA\n"
    assert json.loads(files["input.yaml"])["sequences"][0]["protein"]["msa"] == "alignment.a3m"
    assert arguments[-1] == "--use_potentials" and arguments[9:11] == ["--accelerator", "cpu"]


@pytest.mark.parametrize(
    ("record", "why"),
    [
        ({}, "Give a sequence, or a document"),
        ({"sequence": "MKA:G1"}, r"chain 2\[1\]: '1' is no amino acid"),
        ({"sequence": "MKA:"}, "chain 2 is empty"),
        ({"sequence": "MKA:GG", "alignment": ">q"}, "it is of a single chain"),
        ({"sequence": "MKA", "affinity": True}, "that of a ligand"),
        ({"sequence": "MKA", "document": {"sequences": []}}, "not both"),
        ({"document": []}, "it has version and sequences"),
        ({"document": {"sequences": [{"protein": {"id": "A", "msa": "/etc/passwd"}}]}}, "msa is a file"),
        ({"document": {"sequences": [], "templates": [{"cif": "/x"}]}}, "templates are files"),
        ({"document": {"sequences": [{"ligand": {"id": "A", "ccd": "../../x"}}]}}, "no code of a chemical"),
    ],
)
def test_what_boltz_cannot_be_asked(laid, record: dict[str, Any], why: str) -> None:
    program = laid("boltz-2")
    with pytest.raises(ValueError, match=why):
        program.driver("predict").plan(program.driven(**record), "cpu", "boltz2")


def test_a_document_of_boltz_is_its_own(laid) -> None:
    program = laid("boltz-1")
    document = {
        "sequences": [{"protein": {"id": "A", "sequence": "MKA"}}, {"ligand": {"id": "L", "ccd": "SAH"}}]
    }
    files, _ = program.driver("predict").plan(program.driven(document=document), "cpu", "boltz1")
    assert json.loads(files["input.yaml"])["sequences"][0]["protein"]["msa"] == "empty"
    with pytest.raises(ValueError, match="only Boltz-2"):
        program.driver("predict").plan(
            program.driven(sequence="M", ligand="C", affinity=True), "cpu", "boltz1"
        )


def test_boltz_is_given_what_it_would_fetch(laid, tmp_path: Path) -> None:
    program = laid("boltz-2")
    driver = program.driver("predict")
    with pytest.raises(FileNotFoundError, match=r"no boltz2_conf\.ckpt"):
        driver.cache(program.weights, "boltz2", {}, tmp_path / "none")
    mols = tmp_path / "mols"
    mols.mkdir()
    for code in ("ALA", "SAH", "HEM"):
        (mols / f"{code}.pkl").write_text(code)
    for name in ("boltz2_conf.ckpt", "boltz2_aff.ckpt"):
        (program.weights / name).touch()
    shutil.make_archive(str(program.weights / "mols"), "tar", tmp_path, "mols")
    told = {"sequences": [{"ligand": {"id": "L", "ccd": ["SAH"]}}]}
    driver.cache(program.weights, "boltz2", told, tmp_path / "cache")
    assert sorted(path.name for path in (tmp_path / "cache" / "mols").iterdir()) == ["ALA.pkl", "SAH.pkl"]
    assert (tmp_path / "cache" / "boltz2_aff.ckpt").is_symlink()


def test_the_surest_of_boltz_is_answered(laid, tmp_path: Path) -> None:
    found = tmp_path / "out" / "boltz_results_input" / "predictions" / "input"
    found.mkdir(parents=True)
    driver = laid("boltz-2").driver("predict")
    with pytest.raises(ValueError, match="predicted nothing"):
        driver.collect(tmp_path / "out", tmp_path)
    for rank in (0, 1):
        (found / f"input_model_{rank}.cif").write_text(f"data_{rank}")
        (found / f"confidence_input_model_{rank}.json").write_text(json.dumps({"ptm": 0.9 - rank / 10}))
    (found / "affinity_input.json").write_text('{"affinity_pred_value": -1.5}')
    driver.collect(tmp_path / "out", tmp_path)
    assert (tmp_path / "structure.cif").read_text() == "data_0"
    assert json.loads((tmp_path / "scores.json").read_text()) == {
        "confidence": [{"ptm": 0.9}, {"ptm": 0.8}],
        "affinity": {"affinity_pred_value": -1.5},
    }


def test_chai(laid) -> None:
    program = laid("chai-1", "cuda:0")
    assert program.line(sequence=SEQUENCE) == "python F/predict.py G/record.json cuda:0"
    driver = program.driver("predict")
    files, arguments = driver.plan(program.driven(sequence="MK(SEP)A:GG", ligand="CCO", seed=1), "cuda:0")
    assert program.short(arguments) == (
        "chai fold input.fasta out --num-trunk-recycles 3 --num-diffn-timesteps 200 --num-diffn-samples 5 "
        "--use-esm-embeddings --no-use-msa-server --device cuda:0 --seed 1"
    )
    assert files == {
        "input.fasta": ">protein|name=chain-1\nMK(SEP)A\n>protein|name=chain-2\nGG\n>ligand|name=ligand\nCCO\n"
    }
    files, arguments = driver.plan(program.driven(fasta=">rna|name=g\nACGU\n", restraints="a,b\n"), "cpu")
    assert arguments[-2:] == ["--constraint-path", "restraints.csv"]
    for record, why in (
        ({}, "Give a sequence, or a fasta"),
        ({"sequence": "MK1"}, r"chain 1\[2\]"),
        ({"sequence": "MK", "ligand": "CCO\n>protein|name=x"}, "one SMILES"),
        ({"sequence": "MK", "fasta": ">x"}, "not both"),
    ):
        with pytest.raises(ValueError, match=why):
            driver.plan(program.driven(**record), "cpu")
    printed = "Score=0.1000, writing output to out/pred.model_idx_0.cif\nScore=0.7000, writing output to out/pred.model_idx_1.cif\n"
    assert driver.best(printed) == ({0: 0.1, 1: 0.7}, 1)


def test_protenix(laid) -> None:
    program = laid("protenix-v1")
    example = dict(program.described.example or {})
    assert program.line(**example) == "python F/predict.py G/record.json F/weights"
    driver = program.driver("predict")
    with pytest.raises(ValueError, match="is none of no checkpoints at all"):
        driver.plan(program.driven(**example), program.weights)
    (program.weights / "checkpoint").mkdir()
    (program.weights / "checkpoint" / "protenix_base_default_v1.0.0.pt").touch()
    files, arguments = driver.plan(program.driven(**example), program.weights)
    assert program.short(arguments) == (
        "protenix pred -i input.json -o out -s 101 -c 10 -p 200 -e 5 -d bf16 -n protenix_base_default_v1.0.0 "
        "--use_msa false --trimul_kernel torch --triatt_kernel torch"
    )
    protein = {"proteinChain": {"sequence": SEQUENCE, "count": 1}}
    assert json.loads(files["input.json"]) == [{"sequences": [protein], "name": "model"}]
    files, arguments = driver.plan(
        program.driven(**example, alignment=">q\nMK\n", kernels=True), program.weights
    )
    assert (
        json.loads(files["input.json"])[0]["sequences"][0]["proteinChain"]["unpairedMsaPath"]
        == "alignment.a3m"
    )
    assert arguments[-5:] == [
        "true",
        "--trimul_kernel",
        "cuequivariance",
        "--triatt_kernel",
        "cuequivariance",
    ]
    for document, why in (
        ([1, 2], "one job"),
        ({"sequences": [{"ligand": {"ligand": "FILE_/etc/passwd"}}]}, "names a file"),
        ({"sequences": [{"proteinChain": {"pairedMsaPath": "/x"}}]}, "names a file"),
    ):
        with pytest.raises(ValueError, match=why):
            driver.plan(program.driven(input=document), program.weights)


def test_alphafold3(laid) -> None:
    program = laid("alphafold3", "cuda:1")
    example = dict(program.described.example or {})
    assert program.line(**example) == "python F/predict.py G/record.json F/weights cuda:1"
    driver = program.driver("predict")
    files, arguments = driver.plan(program.driven(**example), program.weights, "cuda:1")
    assert program.short(arguments) == (
        "alphafold3 --json_path=input.json --model_dir=F/weights --output_dir=out --run_data_pipeline=false "
        "--num_recycles=10 --num_diffusion_samples=5 --gpu_device=1"
    )
    assert json.loads(files["input.json"]) == {
        "name": "model",
        "dialect": "alphafold3",
        "version": 1,
        "modelSeeds": [1],
        "sequences": [
            {
                "protein": {
                    "id": ["A"],
                    "sequence": SEQUENCE,
                    "unpairedMsa": "",
                    "pairedMsa": "",
                    "templates": [],
                }
            }
        ],
    }
    _, arguments = driver.plan(program.driven(**example, seeds=2), program.weights, "cpu")
    assert arguments[-3:] == ["--num_seeds=2", "--jax_backend=cpu", "--flash_attention_implementation=xla"]
    for document, why in (
        ({}, "which has sequences"),
        ({"sequences": ["M"]}, "one of protein, rna"),
        ({"sequences": [{"protein": {"unpairedMsaPath": "/x"}}]}, "put the text there"),
    ):
        with pytest.raises(ValueError, match=why):
            driver.plan(program.driven(input=document), program.weights, "cpu")


def test_colabfold(laid, tmp_path: Path) -> None:
    program = laid("colabfold")
    driver = program.driver("predict")
    assert program.line(sequence=SEQUENCE) == "python F/predict.py G/record.json F/weights"
    files, arguments, kind = driver.plan(program.driven(sequence="mkv", seed=7))
    assert (files, kind) == ({"model.fasta": ">model\nMKV\n"}, "ptm")
    assert program.short(arguments) == (
        "colabfold_batch model.fasta out --data data --msa-mode single_sequence --model-type alphafold2_ptm "
        "--num-models 1 --num-recycle 3 --random-seed 7 --skip-output plots"
    )
    files, arguments, kind = driver.plan(program.driven(alignment="#3,2\t1,1\n>101\t102\nMKVGG\n"))
    assert (kind, arguments[1], "--msa-mode" in arguments) == ("multimer_v3", "model.a3m", False)
    assert driver.plan(program.driven(alignment="#3\t1\n>101\nMKV\n"))[2] == "ptm"
    for record, why in (
        ({}, "a sequence, or an alignment"),
        ({"sequence": "MK*"}, r"sequence\[2\]"),
        ({"sequence": "M::K"}, "without residues"),
        ({"sequence": "M", "models": 6}, "1 to 5"),
    ):
        with pytest.raises(ValueError, match=why):
            driver.plan(program.driven(**record))
    with pytest.raises(FileNotFoundError, match="no params_model_1_ptm"):
        driver.lay(program.weights, "ptm", tmp_path / "none")
    (program.weights / "params_model_1_ptm.npz").touch()
    driver.lay(program.weights, "ptm", tmp_path / "data")
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == [
        "download_finished.txt",
        "params_model_1_ptm.npz",
    ]


def test_programs_that_are_called_as_they_are(laid) -> None:
    program = laid("omegafold")
    assert program.line(sequence="MKV", subbatch=32) == (
        "python F/weights/main.py query.fasta out --weights_file F/weights/release1.pt --weights '' --device cpu "
        "--num_cycle 10 --subbatch_size 32"
    )
    assert program.files(sequence="MKV") == {"query.fasta": ">structure\nMKV\n"}


def test_tmbed(laid) -> None:
    program = laid("tmbed")
    assert program.line(sequence="MKV") == (
        "python -m tmbed predict -f query.fasta -p query.pred --out-format 0 --batch-size 4000"
    )
    assert program.files(sequence="MKV") == {"query.fasta": ">query\nMKV\n"}


def test_temstapro(laid) -> None:
    program = laid("temstapro")
    assert program.line(sequence="MKV") == "python F/predict.py F/weights query.fasta predictions.tsv"
    first, *others = program.driver("predict").plan(str(program.weights), "query.fasta", "predictions.tsv")
    assert program.short(others) == (
        "F/weights/temstapro -f query.fasta -d F/weights/ProtTrans -t F/weights --mean-output predictions.tsv"
    )
    assert Path(first).name.startswith("python")


def test_thermompnn(laid) -> None:
    program = laid("thermompnn", "cuda:0")
    assert program.line(structure=b"x", chain="-A") == (
        "conda run --no-capture-output -n thermoMPNN python F/scan.py F/weights G/structure.pdb --chain=-A"
    )
    driver = program.driver("scan")
    assert program.short(driver.plan(str(program.weights), "s.pdb", "--chain=A")) == (
        "F/weights/analysis/custom_inference.py --pdb s.pdb --chain=A --model_path F/weights/models/thermoMPNN_default.pt"
    )
    assert json.loads(driver.settings("W"))["platform"]["thermompnn_dir"] == "W"


def test_equibind(laid) -> None:
    assert laid("equibind").line(protein=b"x", ligand=b"y", rdkit=True) == (
        "conda run --no-capture-output -n equibind python F/weights/multiligand_inference.py -l G/ligand.sdf "
        "-r G/protein.pdb -o out --seed 1 --batch_size 1 "
        "--checkpoint F/weights/runs/flexible_self_docking/best_checkpoint.pt --use_rdkit_coords"
    )


def test_diffdock(laid, tmp_path: Path) -> None:
    program = laid("diffdock-l")
    assert program.line(protein=b"x", ligand="CCO") == (
        "conda run --no-capture-output -n diffdock python F/dock.py G/record.json F/weights"
    )
    driver = program.driver("dock")
    record = program.driven(protein=b"x", ligand="-CCO", samples=4, steps=10)
    assert Path(record["protein"]).read_bytes() == b"x"
    assert program.short(driver.plan(record, str(program.weights))) == (
        "F/weights/inference.py --config config.yaml --complex_name complex --protein_path protein.pdb "
        "--ligand_description=-CCO --out_dir out"
    )
    own = "actual_steps: 19\nmodel_dir: ./workdir/v1.1/score_model\nsigma_schedule: expbeta\n"
    assert driver.config(own, "W", record) == (
        'sigma_schedule: expbeta\nmodel_dir: "W/workdir/v1.1/score_model"\n'
        'confidence_model_dir: "W/workdir/v1.1/confidence_model"\nsamples_per_complex: 4\ninference_steps: 10\n'
        "actual_steps: 9\n"
    )
    for ligand in ("", "/etc/x.SDF", "CCO CC"):
        with pytest.raises(ValueError, match="one SMILES"):
            driver.plan({"ligand": ligand}, "W")
    with pytest.raises(ValueError, match="placed nothing"):
        driver.collect(tmp_path)
    for rank, confidence in ((10, "-3.10"), (2, "-0.50"), (1, "0.25")):
        (tmp_path / f"rank{rank}_confidence{confidence}.sdf").write_text(f"{rank}$$$$\n")
    (tmp_path / "rank1.sdf").write_text("again")
    assert driver.collect(tmp_path) == ("1$$$$\n2$$$$\n10$$$$\n", [0.25, -0.5, -3.1])


def test_rfdiffusion(laid, tmp_path: Path) -> None:
    program = laid("rfdiffusion")
    assert program.line(contigs="60-60") == (
        "conda run --no-capture-output -n SE3nv python F/design.py G/record.json F/weights"
    )
    driver = program.driver("design")
    record = program.driven(
        contigs="[A1-150/0 70-100]",
        structure=b"x",
        hotspots="A59,A83",
        designs=2,
        partial=20,
        deterministic=True,
        noise=0.0,
    )
    assert program.short(driver.plan(record, str(program.weights))) == (
        "F/weights/scripts/run_inference.py 'contigmap.contigs=[A1-150/0 70-100]' inference.output_prefix=out/design "
        "inference.num_designs=2 inference.model_directory_path=F/weights/models "
        "inference.schedule_directory_path=schedules inference.write_trajectory=False diffuser.T=50 "
        "denoiser.noise_scale_ca=0.0 denoiser.noise_scale_frame=0.0 inference.input_pdb=structure.pdb "
        "diffuser.partial_T=20 'ppi.hotspot_res=[A59,A83]' inference.deterministic=True"
    )
    for wrong, why in (
        ({"contigs": "${oc.env:HOME}"}, "contigs: lengths"),
        ({"contigs": "A1-5/10"}, "give the structure"),
        ({"contigs": "60-60", "hotspots": "x"}, "hotspots: residues"),
        ({"contigs": "60-60", "checkpoint": "../x"}, "is none of"),
    ):
        with pytest.raises(ValueError, match=why):
            driver.plan(program.driven(**wrong), str(program.weights))
    for number in (0, 1):
        (tmp_path / f"design_{number}.pdb").write_text(f"HEADER\nATOM  {number}\nEND\n")
    assert driver.collect(tmp_path, 2) == (
        "MODEL        1\nATOM  0\nENDMDL\nMODEL        2\nATOM  1\nENDMDL\nEND\n"
    )


def test_rfantibody(laid, tmp_path: Path) -> None:
    program = laid("rfantibody", "cuda:0")
    given = {"target": b"t", "framework": b"f", "hotspots": "T305, T456"}
    assert program.line(**given) == "python F/design.py G/record.json F/weights"
    driver = program.driver("design")
    steps = driver.plan(
        program.driven(**given, loops="H1:7,H3:5-13", deterministic=True), str(program.weights)
    )
    assert [program.short(step) for step in steps] == [
        "rfdiffusion --target target.pdb --framework framework.pdb --output-quiver backbones.qv --num-designs 1 "
        "--design-loops H1:7,H3:5-13 --hotspots T305,T456 --weights F/weights/RFdiffusion_Ab.pt --diffuser-t 50 "
        "--no-trajectory --deterministic",
        "proteinmpnn --input-quiver backbones.qv --output-quiver sequences.qv --loops H1,H3 --seqs-per-struct 1 "
        "--temperature 0.1 --weights F/weights/ProteinMPNN_v48_noise_0.2.pt --deterministic",
        "rf2 --input-quiver sequences.qv --output-quiver predictions.qv --num-recycles 10 --weights F/weights/RF2_ab.pt",
        "qvextract predictions.qv --output-dir predicted",
        "qvscorefile predictions.qv",
    ]
    for wrong, why in (({"hotspots": "305"}, "hotspots: residues"), ({"loops": "H4:"}, "loops: such as")):
        with pytest.raises(ValueError, match=why):
            driver.plan(program.driven(**{**given, **wrong}), "W")
    for tag in ("b", "a"):
        (tmp_path / f"{tag}.pdb").write_text(f"ATOM  {tag}\n")
    assert driver.collect(tmp_path, "pae\ttag\n1.0\ta\n2.0\tb\n") == (
        "MODEL        1\nATOM  a\nENDMDL\nMODEL        2\nATOM  b\nENDMDL\nEND\n"
    )


def test_rosettafold2(laid) -> None:
    program = laid("rosettafold2", "cuda:0")
    assert program.line(sequence="MKV", alignment=">q\nMKV\n", symmetry="C6") == (
        "conda run --no-capture-output -n RF2 python F/weights/network/predict.py -inputs query.a3m "
        "-inputs G/alignment.a3m -prefix out/model -model F/weights/network/weights/RF2_apr23.pt -symm=C6"
    )
    assert program.files(sequence="MKV") == {"query.a3m": ">query\nMKV\n", "out/.folder": ""}


def test_reinvent4(laid) -> None:
    program = laid("reinvent4")
    assert program.line(count=20) == "reinvent -f toml -d cpu -l sampling.log sampling.toml"
    (text,) = program.files(count=20, unique=False).values()
    assert text == (
        'run_type = "sampling"\n\n[parameters]\nmodel_file = "F/weights/reinvent.prior"\n'
        'output_file = "molecules.csv"\nnum_smiles = 20\nunique_molecules = false\nrandomize_smiles = true\n'
    )


def test_splam(laid) -> None:
    assert laid("splam").line(junctions=b"x", genome=b"y") == (
        "splam score -G G/genome.fa -m F/weights/splam_script.pt -o out G/junctions.bed"
    )


def test_every_program_of_the_catalog_is_here() -> None:
    programs = {
        entry.recipe for entry in load().entries.values() if entry.recipe and entry.adapter == "command"
    }
    here = Path(__file__).read_text()
    for name in programs:
        entries = [entry.name for entry in load().entries.values() if entry.recipe == name]
        assert any(f'laid("{entry}"' in here for entry in entries), name
