"""What is remembered of what was added."""

from pathlib import Path

import pytest

from modelyard.core.errors import Conflict, InvalidInput, NotFound
from modelyard.onboard import Added, Answers, recall, remember, written


def added(source: str, kind: str, folder: Path = Path("/nowhere")) -> Added:
    return Added(name="a", source=source, kind=kind, answers=Answers(), folder=str(folder))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("source", "kind", "version", "expected"),
    [
        ("yake", "package", "0.5", "yake==0.5"),
        ("yake[extra]==0.4", "package", "0.5", "yake[extra]==0.5"),
        ("yake==0.4", "source", None, "yake"),
        ("https://example.org/a/b", "git", "v2", "https://example.org/a/b@v2"),
        ("https://example.org/a/b@v1", "git", "v2", "https://example.org/a/b@v2"),
        ("https://example.org/a/b@v1", "git", None, "https://example.org/a/b"),
        ("git@example.org:a/b.git", "git", "v2", "git@example.org:a/b.git@v2"),
        ("hf://a/b@main", "hub", "v2", "hf://a/b@v2"),
    ],
)
def test_its_source_at_another_version(source: str, kind: str, version: str | None, expected: str):
    assert added(source, kind).at(version) == expected


def test_a_folder_has_no_versions():
    with pytest.raises(InvalidInput, match="has no versions"):
        added("./here", "folder").at("2")


def test_it_is_remembered_and_changes_are_seen(tmp_path: Path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.py").write_text("x = 1\n")
    one = added("yake", "package", tmp_path / "model")
    one = Added(name="a", source="yake", kind="package", answers=Answers(call="f", examples={"x": {"b64": "aGk="}}),
                folder=str(tmp_path / "model"), written=written(tmp_path / "model"), answer={"output": [1]})  # fmt: skip
    remember(one, tmp_path)
    assert recall("a", tmp_path) == one
    one.check_unchanged()
    (tmp_path / "model" / "model.py").write_text("x = 2\n")
    with pytest.raises(Conflict, match="was changed"):
        one.check_unchanged()
    with pytest.raises(NotFound, match="modelyard deploy"):
        recall("b", tmp_path)
