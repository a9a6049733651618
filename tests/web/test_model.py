"""A model's page: what it shows of a version, what of it is dangerous, and its files."""

import hashlib
import re
from pathlib import Path

import pytest

from modelyard.core.card import Card
from modelyard.core.manifest import FileEntry, Manifest
from modelyard.core.metrics import figures_table
from modelyard.core.model import Analysis
from modelyard.core.signature import Signature, TensorSpec
from support.pages import TestClient, add, perceptron, pickled, platform_of

CARD = b"""---
license: mit
tags: [money]
model-index:
- name: m
  results:
  - task: {type: regression}
    dataset: {name: "<b>set</b>"}
    metrics: [{name: AUC, type: auc, value: 0.93}]
---
# Hello
<script>alert(1)</script> [x](javascript:alert(1)) ![p](https://evil.example/p.png)
"""


def fraud(registry: TestClient, folder: Path, *, seed: int = 0, hidden: int = 8) -> None:
    add(registry, "fraud", {"model.onnx": perceptron(folder, seed=seed, hidden=hidden), "README.md": CARD})


def test_a_version_shows_its_card_signature_files_and_scan(registry: TestClient, tmp_path: Path) -> None:
    fraud(registry, tmp_path)
    text = registry.get("/models/fraud").text
    for told in (
        "<h3>Hello</h3>",
        "FP32 [4]",
        "model.onnx",
        "clean",
        "MIT",
        "AUC",
        "0.93",
        "/sbom",
        "no endpoint",
    ):
        assert told in text, told


def test_nothing_that_somebody_wrote_is_markup(registry: TestClient, tmp_path: Path) -> None:
    fraud(registry, tmp_path)
    registry.patch(
        "/api/v1/models/fraud/card", json={"title": "<img src=x>", "summary": "a\u202eb</bdi><script>"}
    )
    text = registry.get("/models/fraud").text
    assert "<script>alert" not in text and "<b>set" not in text and "<img src=x" not in text
    assert 'href="javascript:' not in text and 'src="https://evil' not in text
    assert "\u202e" not in text and "right-to-left override" in text
    assert "style=" not in text and "onclick" not in text  # the rules for scripts and styles hold


def test_names_of_files_are_text_and_their_tricks_are_written_out(
    registry: TestClient, tmp_path: Path
) -> None:
    nasty = ["<img src=x onerror=alert(1)>.txt", "gpj.\u202eexe", 'a"b#c?d.txt', "ümlaut ☃.txt"]
    files = {"model.onnx": perceptron(tmp_path)} | {name: name.encode() for name in nasty}
    add(registry, "fraud", files)
    text = registry.get("/models/fraud").text
    assert "<img" not in text.replace('<img src="/static/icon.svg"', "") and "\u202e" not in text
    links: list[str] = re.findall(r'href="([^"]+/files/[^"]+)"', text)
    assert len(links) == len(files)
    bodies = {registry.get(link).content for link in links}
    assert bodies == set(files.values())


def test_a_file_is_saved_and_never_shown(registry: TestClient, tmp_path: Path) -> None:
    page = b"<script>alert(1)</script>"
    add(registry, "fraud", {"model.onnx": perceptron(tmp_path), "doc/page.html": page})
    answer = registry.get("/models/fraud/versions/1/files/doc/page.html")
    assert answer.content == page
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"] == "attachment; filename*=UTF-8''page.html"
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_a_large_file_is_whole(registry: TestClient, tmp_path: Path) -> None:
    data = hashlib.shake_256(b"x").digest(5_000_001)
    add(registry, "fraud", {"model.onnx": perceptron(tmp_path), "extra.bin": data})
    assert registry.get("/models/fraud/versions/1/files/extra.bin").content == data


def test_a_file_whose_bytes_are_lost_is_told_on_a_page(registry: TestClient) -> None:
    files = Manifest(files=(FileEntry(path="model.onnx", size=9, sha256="0" * 64),))
    platform_of(registry).versions.add("lost", files, Analysis(format="onnx", adapter="onnx"), False)
    page = registry.get("/models/lost/versions/1/files/model.onnx")
    assert page.status_code >= 400 and "<h1>" in page.text
    assert registry.get("/models/lost").status_code == 200
    assert registry.get("/models/lost/compare?a=1&b=1").status_code == 200


def test_an_empty_file_is_an_empty_answer(registry: TestClient, tmp_path: Path) -> None:
    add(registry, "fraud", {"model.onnx": perceptron(tmp_path), "empty": b""})
    answer = registry.get("/models/fraud/versions/1/files/empty")
    assert (answer.status_code, answer.content) == (200, b"")


@pytest.mark.parametrize("path", ["../../../key", "..%2f..%2fkey", "%2e%2e/key", "nothing", "/etc/passwd"])
def test_no_path_leads_out_of_a_version(registry: TestClient, tmp_path: Path, path: str) -> None:
    fraud(registry, tmp_path)
    assert registry.get(f"/models/fraud/versions/1/files/{path}").status_code in (400, 404)


def test_a_version_is_found_by_number_alias_and_as_the_latest(registry: TestClient, tmp_path: Path) -> None:
    fraud(registry, tmp_path)
    fraud(registry, tmp_path, seed=1)
    platform_of(registry).aliases.move("fraud", "production", 1, who="ann", why="<i>well</i>")
    assert "fraud/2" in registry.get("/models/fraud").text
    for which in ("1", "production"):
        text = registry.get(f"/models/fraud/versions/{which}").text
        assert (
            "This is not the latest version" in text and "&lt;i&gt;well&lt;/i&gt;" in text and "ann" in text
        )


def test_the_history_of_aliases_tells_the_second_and_that_it_is_utc(
    registry: TestClient, tmp_path: Path
) -> None:
    fraud(registry, tmp_path)
    platform_of(registry).aliases.move("fraud", "production", 1, who="ann", why="")
    text = registry.get("/models/fraud").text
    assert "<th>When (UTC)</th>" in text
    day, second = r"\d{4}-\d\d-\d\d", r"\d\d:\d\d:\d\d"
    assert re.search(f'<td><time datetime="{day}T{second}Z">{day} {second}</time></td>', text)


@pytest.mark.parametrize(
    ("path", "what"),
    [
        ("/models/nobody", "model"),
        ("/models/nobody/versions/1", "model"),
        ("/models/nobody/compare?a=1&b=2", "model"),
        ("/models/fraud/versions/9", "version"),
        ("/models/fraud/versions/none", "version"),
        ("/models/fraud/versions/9/files/model.onnx", "version"),
        ("/models/fraud/versions/1/files/none", "file"),
        ("/models/fraud/compare?a=1&b=99", "version"),
        ("/models/fraud/compare?a=1&b=none", "version"),
    ],
)
def test_what_is_not_there_is_a_page_of_404(
    registry: TestClient, tmp_path: Path, path: str, what: str
) -> None:
    fraud(registry, tmp_path)
    page = registry.get(path)
    assert page.status_code == 404 and f"<h1>There is no such {what}</h1>" in page.text


def test_a_name_that_cannot_be_is_a_page_of_400(registry: TestClient) -> None:
    assert registry.get("/models/NO").status_code == 400
    assert registry.get("/models/m/versions/0").status_code == 400


def test_a_model_whose_versions_are_all_deleted_can_still_be_looked_at(
    registry: TestClient, tmp_path: Path
) -> None:
    fraud(registry, tmp_path)
    platform_of(registry).retirement.delete("fraud", 1, grace=1000, who="ann", why="wrong labels")
    text = registry.get("/models/fraud").text
    assert "Deleted by ann" in text and "wrong labels" in text and "Restore" in text


def test_findings_are_shown_of_what_runs_code(registry: TestClient) -> None:
    add(
        registry,
        "counts",
        {"model.pkl": pickled()},
        trusted=True,
        who="bob",
        because="mine",
    )
    text = registry.get("/models/counts").text
    assert "Trusted by bob" in text and "mine" in text


def test_lineage_is_a_picture_with_its_words(registry: TestClient, tmp_path: Path) -> None:
    fraud(registry, tmp_path)
    fraud(registry, tmp_path, seed=1)
    assert "<svg" not in registry.get("/models/fraud").text
    platform_of(registry).lineage.set(
        ("fraud", 2), ("fraud", 1), "fine_tune", tradeoff={"auc": [0.9, 0.91]}, who="ann"
    )
    text = registry.get("/models/fraud").text
    assert "<svg" in text and "<title>fraud/2, fine-tune</title>" in text and "0.9 → 0.91" in text


@pytest.mark.parametrize(("count", "folded"), [(12, 0), (30, 22)])
def test_of_very_many_inputs_the_first_are_shown_and_the_others_folded(
    registry: TestClient, count: int, folded: int
) -> None:
    inputs = tuple(
        TensorSpec(name=f"measure {n}", datatype="FP64", shape=(), kind="table") for n in range(count)
    )
    outputs = (TensorSpec(name="label", datatype="INT64", shape=(), kind="label"),)
    files = Manifest(files=(FileEntry(path="m", size=1, sha256="1" * 64),))
    analysis = Analysis(format="onnx", adapter="onnx", signature=Signature(inputs=inputs, outputs=outputs))
    platform_of(registry).versions.add("wide", files, analysis, False)
    text = registry.get("/models/wide").text
    assert all(f"<code>measure {n}</code>" in text for n in range(count))
    assert (f"{folded} more inputs" in text) == (folded > 0)
    if folded:
        assert text.index("<code>label</code>") < text.index("<code>measure 8</code>")


def test_figures_of_two_versions_stand_side_by_side(registry: TestClient, tmp_path: Path) -> None:
    for seed, accuracy in ((0, 0.9), (1, 0.5)):
        model = {"model.onnx": perceptron(tmp_path, seed=seed)}
        add(registry, "fraud", model, card=Card(metrics=(figures_table({"accuracy": accuracy}),)))
    text = registry.get("/models/fraud/compare?a=1&b=2").text
    assert '<td>accuracy</td><td class="number">0.9</td><td class="number">0.5</td>' in text
    told = registry.get("/api/v1/models/fraud/versions/1/compare?to=2").json()
    assert told["figures"] == {"accuracy": [0.9, 0.5]}
    assert "From: fraud/1" in registry.get("/models/fraud/versions/1").text


def test_two_versions_are_compared(registry: TestClient, tmp_path: Path) -> None:
    fraud(registry, tmp_path)
    fraud(registry, tmp_path, hidden=16)
    assert "Which two?" in registry.get("/models/fraud/compare").text
    text = registry.get("/models/fraud/compare?a=1&b=latest&contents=true").text
    assert "model.onnx" in text and "[4, 8]" in text and "[4, 16]" in text
    assert re.search(r"AUC\[&lt;b&gt;set&lt;/b&gt;\].*0\.93.*0\.93", text)  # each has its own README's
    assert "The files are the same" in registry.get("/models/fraud/compare?a=1&b=1").text
    for seed in (1, 2):
        add(registry, "plain", {"model.onnx": perceptron(tmp_path, seed=seed)})
    assert "Nobody has noted figures of these" in registry.get("/models/plain/compare?a=1&b=2").text
    assert registry.get("/models/fraud/compare?a=1&b=7").status_code == 404
    assert registry.get("/models/fraud/compare?a=1&colour=2").status_code == 400


def test_why_trust_was_needed_is_told_beside_who_gave_it(registry: TestClient, tmp_path: Path) -> None:
    add(registry, "rules", {"model.pkl": pickled()}, trusted=True, because="I trained it")
    text = registry.get("/models/rules").text
    assert (
        "I trained it" in text
        and "It took trust because loading a pickle runs whatever code is in it." in text
    )
    add(registry, "plain", {"model.onnx": perceptron(tmp_path)}, trusted=True)
    text = registry.get("/models/plain").text
    assert "Trusted by" in text and "It took trust" not in text
