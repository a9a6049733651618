"""Verdicts are kept by bytes and scanner, trust is recorded, and real models raise no alarm."""

import io
import pickle
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy
import pytest

from modelyard.core.errors import InvalidInput, RejectedContent
from modelyard.core.manifest import FileEntry, Manifest, manifest_of
from modelyard.core.scan import Finding, Verdict
from modelyard.registry import quarantine
from modelyard.registry.scan import opinions
from modelyard.registry.scan import safety as room
from modelyard.registry.scan.kinds import VERSION
from modelyard.registry.scan.safety import Safety
from modelyard.registry.scan.scanner import NoScanner
from modelyard.registry.versions import NeedsTrust, register
from modelyard.store.audit import Audit
from modelyard.store.blobs import BlobStore
from modelyard.store.database import Database
from modelyard.store.files import FolderFiles
from modelyard.store.verdicts import Verdicts
from modelyard.store.versions import Versions
from support.attacks.containers import torch_zip


@pytest.fixture
def verdicts(database: Database) -> Verdicts:
    return Verdicts(database)


def _manifest(blobs: BlobStore, files: dict[str, bytes]) -> Manifest:
    entries = [(name, blobs.put([data])) for name, data in files.items()]
    return manifest_of([FileEntry(path=name, size=put.size, sha256=put.sha256) for name, put in entries])


def _estimator() -> bytes:
    from sklearn.linear_model import LogisticRegression

    return pickle.dumps(LogisticRegression().fit([[0.0], [1.0]], [0, 1]))


def test_a_file_that_was_scanned_costs_nothing(
    blobs: BlobStore, verdicts: Verdicts, monkeypatch: pytest.MonkeyPatch
) -> None:
    safety = Safety(blobs, verdicts)
    first, _ = safety.look(_manifest(blobs, {"model.pkl": _estimator(), "a.txt": b"x"}))
    monkeypatch.setattr(room, "look", lambda *_, **__: pytest.fail("it is scanned again"))
    again, _ = safety.look(_manifest(blobs, {"other.pkl": _estimator(), "b/a.txt": b"x"}))
    assert {file.sha256: file.verdict for file in first} == {file.sha256: file.verdict for file in again}


def test_another_version_of_a_scanner_looks_again(blobs: BlobStore, verdicts: Verdicts) -> None:
    safety = Safety(blobs, verdicts)
    manifest = _manifest(blobs, {"a.txt": b"x"})
    digest = manifest.files[0].sha256
    old = Verdict(sha256=digest, scanner="modelyard", version="0", verdict="malicious", time=1.0)
    verdicts.keep([old])
    scans, _ = safety.look(manifest)
    told = f"{VERSION} (any name)"
    assert [(each.version, each.verdict) for each in scans[0].verdicts] == [(told, "clean")]
    assert [each.version for each in verdicts.of([digest])[digest]] == [told]


def test_the_same_bytes_under_a_name_that_means_more_are_looked_at_again(
    blobs: BlobStore, verdicts: Verdicts
) -> None:
    safety = Safety(blobs, verdicts)
    hidden = b'{"x": "' + b" " * 5000 + b'", "auto_map": {"AutoModel": "m.M"}}'
    assert safety.look(_manifest(blobs, {"notes.txt": hidden}))[0][0].verdict == "clean"
    for _ in range(2):
        scans, _ = safety.look(_manifest(blobs, {"a/config.json": hidden, "b/notes.txt": hidden}))
        assert [file.verdict for file in scans] == ["executes", "executes"]
    assert scans[0].verdicts[0].version == f"{VERSION} (any name, config.json)"


def test_second_and_third_opinions_are_asked_of_pickles_alone(blobs: BlobStore, verdicts: Verdicts) -> None:
    scans, absent = Safety(blobs, verdicts).look(
        _manifest(blobs, {"a.txt": b"x", "model.pkl": _estimator()})
    )
    told = {file.path: {each.scanner for each in file.verdicts} for file in scans}
    assert told == {"a.txt": {"modelyard"}, "model.pkl": {"modelyard", "fickling", "modelscan"}}
    assert absent == {"clamav": "it is not configured (setting clamav)"}


def test_opinions_that_are_not_installed_are_told(
    blobs: BlobStore, verdicts: Verdicts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opinions, "version_of", lambda _: None)
    scans, absent = Safety(blobs, verdicts).look(_manifest(blobs, {"model.pkl": _estimator()}))
    assert set(absent) == {"clamav", "fickling", "modelscan"} and "'.[scan]'" in absent["fickling"]
    assert scans[0].verdict == "executes"


def test_all_three_call_an_attack_bad(blobs: BlobStore, verdicts: Verdicts) -> None:
    import os

    class Evil:
        def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
            return os.system, ("true",)

    scans, _ = Safety(blobs, verdicts).look(_manifest(blobs, {"model.pkl": pickle.dumps(Evil())}))
    assert {each.scanner: each.verdict for each in scans[0].verdicts} == {
        "modelyard": "malicious", "fickling": "executes", "modelscan": "executes",
    }  # fmt: skip


def test_without_a_scanning_process_nothing_passes(
    database: Database, blobs: BlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise NoScanner("no process")

    monkeypatch.setattr(room, "look", fails)
    with pytest.raises(Exception, match="nothing passes"):
        register(blobs, Versions(database), "m", _manifest(blobs, {"model.py": b"x = 1\n"}), trusted=True)
    assert Versions(database).models() == []


def test_trust_is_recorded_with_who_and_why(
    database: Database, blobs: BlobStore, verdicts: Verdicts
) -> None:
    versions, safety = Versions(database), Safety(blobs, verdicts)
    manifest = _manifest(blobs, {"model.pkl": _estimator()})
    with pytest.raises(NeedsTrust):
        register(blobs, versions, "risky", manifest, trusted=False, safety=safety)
    register(blobs, versions, "risky", manifest, trusted=True, who="ann", because="our own", safety=safety)
    version = versions.get("risky", 1)
    assert version.trust is not None and (version.trust.who, version.trust.because) == ("ann", "our own")
    entry = next(each for each in Audit(database).list(10) if each.what == "version.add")
    assert (entry.who, entry.subject, entry.why) == ("ann", "risky/1", "trusted: our own")


def test_trust_that_comes_later_is_recorded_and_ends_the_quarantine(
    database: Database, blobs: BlobStore, verdicts: Verdicts
) -> None:
    versions, safety = Versions(database), Safety(blobs, verdicts)
    manifest = _manifest(blobs, {"model.onnx": _onnx()})
    version, _ = register(blobs, versions, "m", manifest, trusted=False, safety=safety)
    digest = manifest.files[0].sha256
    found = Finding(level="executes", what="what nobody knew of", offset=3)
    known = verdicts.of([digest])[digest][0]
    verdicts.keep([msgspec.structs.replace(known, verdict="executes", findings=(found,))])
    settled = quarantine.settle(versions, version, safety.scan(version))
    assert (
        settled.quarantine is not None and "model.onnx at byte 3: what nobody knew of" in settled.quarantine
    )
    with pytest.raises(RejectedContent, match="in quarantine"):
        quarantine.require_safe(safety, versions, settled)
    register(blobs, versions, "m", manifest, trusted=True, because="looked at it", safety=safety)
    now = versions.get("m", 1)
    assert now.quarantine is None and now.trust is not None and now.trust.because == "looked at it"
    assert {"version.quarantine", "version.trust", "version.release"} <= {
        each.what for each in Audit(database).list(20)
    }


CODE = b"def predict(x: float) -> float:\n    return x\n"


@pytest.mark.parametrize(
    ("files", "needed"),
    [
        (lambda: {"model.onnx": _onnx()}, False),
        (lambda: {"model.pkl": _estimator()}, True),
        (lambda: {"model.onnx": _onnx(), "notes.txt": _estimator()}, True),
        (lambda: {"model.onnx": _onnx(), "model.yaml": b"requirements: [iniconfig]\n"}, True),
        (lambda: {"model.py": CODE, "more.pkl": _estimator()}, False),
    ],
    ids=["ONNX", "a pickle", "a pickle beside it", "packages beside it", "a program"],
)
def test_what_needed_trust_was_let_in_by_it(
    database: Database,
    blobs: BlobStore,
    verdicts: Verdicts,
    files: Callable[[], dict[str, bytes]],
    needed: bool,
) -> None:
    versions, safety = Versions(database), Safety(blobs, verdicts)
    manifest = _manifest(blobs, files())
    if needed:
        with pytest.raises(NeedsTrust):
            register(blobs, versions, "m", manifest, trusted=False, safety=safety)
    version, _ = register(blobs, versions, "m", manifest, trusted=True, safety=safety)
    assert quarantine.let_in_by_trust(version, safety.seen(version)) is needed
    assert (quarantine.trust_needed(version, safety.seen(version)) is not None) is needed


def test_trust_counts_where_nothing_has_looked_or_something_is_found_later(
    database: Database, blobs: BlobStore, verdicts: Verdicts
) -> None:
    versions, safety = Versions(database), Safety(blobs, verdicts)
    manifest = _manifest(blobs, {"model.onnx": _onnx()})
    version, _ = register(blobs, versions, "m", manifest, trusted=True, safety=safety)
    assert quarantine.let_in_by_trust(version, Safety(blobs).seen(version))
    digest = manifest.files[0].sha256
    known = verdicts.of([digest])[digest][0]
    verdicts.keep([msgspec.structs.replace(known, verdict="unreadable")])
    assert quarantine.let_in_by_trust(version, safety.seen(version))
    distrusted = msgspec.structs.replace(version, trusted=False)
    assert not quarantine.let_in_by_trust(distrusted, safety.seen(version))


def _onnx() -> bytes:
    from onnx import TensorProto, helper

    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 2]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [x], [y])
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    ).SerializeToString()


def _real(tmp_path: Path) -> dict[str, bytes]:
    """Models as their own libraries write them, and what lies beside models."""
    import json
    import struct

    import lightgbm
    import skops.io
    import xgboost
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    rows = numpy.random.default_rng(1).normal(size=(80, 4))
    labels = (rows[:, 0] > 0).astype(int)
    forest = make_pipeline(StandardScaler(), RandomForestClassifier(5)).fit(rows, labels)
    boosted = xgboost.XGBClassifier(n_estimators=3).fit(rows, labels)
    for name in ("boosted.json", "boosted.ubj"):
        boosted.save_model(tmp_path / name)
    light = lightgbm.LGBMClassifier(n_estimators=3, verbose=-1).fit(rows, labels)
    npy, npz = io.BytesIO(), io.BytesIO()
    numpy.save(npy, rows)
    numpy.savez_compressed(npz, rows=rows, names=numpy.array(["a", "b"]))
    header = json.dumps({"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode()
    made = {
        "forest.skops": skops.io.dumps(forest),
        "boosted.json": (tmp_path / "boosted.json").read_bytes(),
        "boosted.ubj": (tmp_path / "boosted.ubj").read_bytes(),
        "light.txt": light.booster_.model_to_string().encode(),
        "model.onnx": _onnx(),
        "rows.npy": npy.getvalue(),
        "rows.npz": npz.getvalue(),
        "w.safetensors": struct.pack("<Q", len(header)) + header + bytes(8),
        "weights.pt": torch_zip(pickle.dumps({"a": [1, 2]}, 2)),
        "config.json": b'{"model_type": "bert", "architectures": ["BertModel"]}',
        "tokenizer_config.json": json.dumps(
            {"chat_template": "{% for m in messages %}{{ '<|' + m['role'] + '|>' + m.content|trim }}{% if loop.last and "
             "add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}{% endfor %}{% set ns = namespace(found=false) %}"}
        ).encode(),
        "vocab.txt": b"[PAD]\n[UNK]\ncat\ndog\n.\ncos\nsin\n",
        "README.md": b"# A model\n\nimport os; os.system\n",
    }  # fmt: skip
    return made


def test_real_models_raise_no_alarm(tmp_path: Path, blobs: BlobStore) -> None:
    scans, _ = Safety(blobs).look(_manifest(blobs, _real(tmp_path)))
    alarms = {
        file.path: [each.findings for each in file.verdicts] for file in scans if file.verdict != "clean"
    }
    assert alarms == {}
    assert len(scans) == 13


@pytest.mark.parametrize("folder", ["examples/pyrodigal", "examples/zoo", "docs"])
def test_the_files_of_this_project_raise_no_alarm(blobs: BlobStore, folder: str) -> None:
    files = FolderFiles(Path(__file__).parents[3] / folder)
    held = _manifest(blobs, {path: files.read(path) for path in files.paths})
    scans, _ = Safety(blobs).look(held)
    assert [file for file in scans if file.verdict != "clean"] == []


def test_verdicts_of_files_that_are_gone_are_forgotten_but_the_bad_ones(verdicts: Verdicts) -> None:
    for name, verdict in (("a" * 64, "clean"), ("b" * 64, "malicious"), ("c" * 64, "executes")):
        verdicts.keep([Verdict(sha256=name, scanner="modelyard", version="1", verdict=verdict)])  # type: ignore[arg-type]
    assert verdicts.forget({"c" * 64}) == 1
    assert [len(each) for each in verdicts.of(["a" * 64, "b" * 64, "c" * 64]).values()] == [0, 1, 1]


@pytest.mark.parametrize("because", ["", "   "])
def test_where_trust_needs_a_reason_none_is_given_without(
    database: Database, blobs: BlobStore, verdicts: Verdicts, because: str
) -> None:
    versions, safety = Versions(database), Safety(blobs, verdicts, reasons=True)
    manifest = _manifest(blobs, {"model.pkl": _estimator()})
    with pytest.raises(InvalidInput, match="wants to know why") as caught:
        register(blobs, versions, "m", manifest, trusted=True, because=because, safety=safety)
    assert caught.value.field == "because"
    assert versions.models() == []
    version, _ = register(blobs, versions, "m", manifest, trusted=True, because="my own", safety=safety)
    assert version.trust is not None and version.trust.because == "my own"
    harmless = _manifest(blobs, {"model.onnx": _onnx()})
    assert register(blobs, versions, "m", harmless, trusted=False, safety=safety)[1]
