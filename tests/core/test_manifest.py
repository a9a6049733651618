"""A version's files: their identity, and the paths that are refused."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.core.errors import InvalidInput
from modelyard.core.manifest import FileEntry, check_path, manifest_of


def file(path: str, content: str = "a", size: int = 1) -> FileEntry:
    return FileEntry(path=path, size=size, sha256=(content * 64)[:64])


def test_the_digest_does_not_depend_on_the_order_of_the_files() -> None:
    files = [file("model.onnx"), file("data/x.bin", "b"), file("a", "c")]
    shuffled = random.Random(1).sample(files, 3)
    assert manifest_of(files).digest == manifest_of(shuffled).digest


@pytest.mark.parametrize("other", [file("b"), file("a", "b"), file("a", size=2)])
def test_the_digest_changes_with_path_content_and_size(other: FileEntry) -> None:
    assert manifest_of([file("a")]).digest != manifest_of([other]).digest


@pytest.mark.parametrize(
    "path",
    ["", "/etc/passwd", "../x", "a/../b", "a//b", "./a", "a/", "a\\b", "C:/x", "a\x00b", "a\nb", "x" * 256, "a/" * 600 + "b"],
)  # fmt: skip
def test_a_path_that_is_not_plainly_inside_is_refused(path: str) -> None:
    with pytest.raises(InvalidInput) as error:
        manifest_of([file("fine"), file(path)])
    assert error.value.field == "files[1].path"


@pytest.mark.parametrize(
    ("one", "other"), [("a", "a"), ("Model.onnx", "model.onnx"), ("\u00e9", "e\u0301")]
)
def test_two_files_that_would_be_one_somewhere_are_refused(one: str, other: str) -> None:
    with pytest.raises(InvalidInput, match="one file"):
        manifest_of([file(one), file(other, "b")])


@pytest.mark.parametrize(
    "wrong", [FileEntry(path="a", size=-1, sha256="a" * 64), FileEntry(path="a", size=1, sha256="A" * 64)]
)
def test_impossible_sizes_and_digests_are_refused(wrong: FileEntry) -> None:
    with pytest.raises(InvalidInput):
        manifest_of([wrong])


def test_an_empty_upload_is_refused() -> None:
    with pytest.raises(InvalidInput, match="no file"):
        manifest_of([])


@given(st.text(max_size=50))
def test_no_accepted_path_leaves_its_folder(path: str) -> None:
    from pathlib import Path

    try:
        check_path(path)
    except InvalidInput:
        return
    root = Path("/root-of-it")
    assert (root / path).resolve().is_relative_to(root)
