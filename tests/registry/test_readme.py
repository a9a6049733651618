"""READMEs: the text for people, and what their front matter says."""

from pathlib import Path

import pytest

from modelyard.core.card import Card
from modelyard.core.metrics import MetricsTable
from modelyard.registry.readme import Readme, read_readme
from modelyard.store.files import FolderFiles

FULL = """---
license: apache-2.0
pipeline_tag: feature-extraction
tags:
  - sentence-transformers
  - Feature Extraction
  - arxiv:1904.06472
  - license:apache-2.0
model-index:
  - name: mini
    results:
      - task: {type: STS}
        dataset: {name: STS12, type: mteb/sts12}
        metrics:
          - {type: cosine_pearson, value: 83.1}
          - {type: broken}
---
# Mini

Text.
"""


def readme(tmp_path: Path, text: str | bytes, name: str = "README.md") -> Readme | None:
    (tmp_path / "model.onnx").write_bytes(b"x")
    (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_readme(FolderFiles(tmp_path))


def test_the_front_matter_fills_a_card(tmp_path: Path) -> None:
    rows = (("STS", "STS12", "cosine_pearson", 83.1),)
    columns = ("task", "data", "metric", "value")
    card = Card(
        licence="Apache-2.0",
        commercial=True,
        task="feature-extraction",
        tags=("feature-extraction", "sentence-transformers"),
        metrics=(MetricsTable(title="Results (README)", columns=columns, rows=rows),),
    )
    assert readme(tmp_path, FULL) == Readme("# Mini\n\nText.\n", card)


@pytest.mark.parametrize(
    ("told", "licence", "commercial"),
    [
        ("mit", "MIT", True),
        ("cc-by-nc-4.0", "CC-BY-NC-4.0", False),
        ("cc-by-4.0", "CC-BY-4.0", True),
        ("openrail", "LicenseRef-openrail", None),
        ("other\nlicense_name: My Own", "LicenseRef-My-Own", None),
        ("other", None, None),
        ("[a, b]", None, None),
        ("'what ever'", None, None),
    ],
)
def test_licences_become_spdx(
    tmp_path: Path, told: str, licence: str | None, commercial: bool | None
) -> None:
    found = readme(tmp_path, f"---\nlicense: {told}\n---\nText")
    assert found is not None
    assert (found.card.licence, found.card.commercial) == (licence, commercial)


@pytest.mark.parametrize(
    "text",
    [
        "# Plain",
        "---\nnot: [closed\n---\nText",
        "---\nlicense: mit",
        "---\n- a list\n---\n",
        "---\na: &x 1\nb: *x\n---\n",
        "",
    ],
)
def test_what_is_no_front_matter_is_text(tmp_path: Path, text: str) -> None:
    assert readme(tmp_path, text) == Readme(text, Card())


@pytest.mark.parametrize(
    "told",
    [
        "tags: 3",
        "pipeline_tag: [x]",
        "model-index: {a: 1}",
        "model-index: [1, {results: [2]}]",
        "tags: [1, '---']",
    ],
)
def test_what_cannot_be_in_a_card_is_left_out(tmp_path: Path, told: str) -> None:
    assert readme(tmp_path, f"---\nlicense: mit\n{told}\n---\nx") == Readme(
        "x", Card(licence="MIT", commercial=True)
    )


def test_no_readme_is_none(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"x")
    assert read_readme(FolderFiles(tmp_path)) is None
    assert readme(tmp_path, b"\xff\xfe\x00bad") is None
