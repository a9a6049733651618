"""What is kept of where files came from holds no secret."""

import pytest

from modelyard.core.errors import InvalidInput
from modelyard.core.provenance import Source, cleaned


@pytest.mark.parametrize(
    ("source", "name"),
    [
        (Source(kind="git", name="https://me:token@host/a/b.git"), "https://host/a/b.git"),
        (Source(kind="git", name="git+https://token@host/a.git?x=1"), "git+https://host/a.git?…"),
        (Source(kind="git", name="git@host:a/b.git"), "git@host:a/b.git"),
        (Source(kind="url", name="https://host/m.onnx?X-Amz-Signature=abc#x"), "https://host/m.onnx?…"),
        (Source(kind="mirror", name="s3://key:secret@bucket/prefix"), "s3://bucket/prefix"),
        (Source(kind="upload", name="https://me:pw@host/"), "https://host/"),
        (Source(kind="path", name="/home/alice/secret/model.onnx"), "model.onnx"),
        (Source(kind="path", name="C:\\Users\\alice\\model.onnx"), "model.onnx"),
        (Source(kind="hub", name="owner/name"), "owner/name"),
    ],
)
def test_secrets_and_places_are_taken_out(source: Source, name: str) -> None:
    assert cleaned(source).name == name
    outer = cleaned(Source(kind="added", name="m", of=source))
    assert outer.of is not None and outer.of.name == name


def test_sources_behind_sources_end() -> None:
    source = Source(kind="path", name="m")
    for _ in range(4):
        source = Source(kind="added", name="m", of=source)
    with pytest.raises(InvalidInput, match="at most 4"):
        cleaned(source)


def test_it_is_told_on_a_line() -> None:
    behind = Source(kind="git", name="https://host/a.git", revision="0123456789abcdef")
    assert (
        Source(kind="added", name="m", of=behind).told
        == "modelyard add m from git https://host/a.git at 0123456789ab"
    )
