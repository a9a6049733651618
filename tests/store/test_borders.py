"""Where files are cut: at their tensors, without gaps, and whatever is broken is cut all the same."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelyard.store.borders import PART, FileSource, cut, outside
from support import weights

WHOLE = weights.tensors(1)
FORMATS = {
    "safetensors": weights.safetensors, "torch": weights.torch_zip, "onnx": weights.onnx, "gguf": weights.gguf,
}  # fmt: skip


def pieces(path: Path, told: list[tuple[int, int]] | None = None) -> list[bytes]:
    """The bytes between the borders; together they are the file."""
    data = path.read_bytes()
    with FileSource(path) as source:
        places = list(cut(source, told or ()))
    assert all(0 < length <= 16 * 1024 * 1024 for _, length in places)
    found = [data[offset : offset + length] for offset, length in places]
    assert b"".join(found) == data
    return found


@pytest.mark.parametrize("name", FORMATS)
def test_every_tensor_is_a_piece(name: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(FORMATS[name](WHOLE))
    found = {hashlib.sha256(piece).digest() for piece in pieces(path)}
    wanted = [array.tobytes() for key, array in WHOLE.items() if key.endswith("weight")]
    if name == "gguf":  # the padding behind a tensor is its own; ours has none
        assert all(len(each) % 64 == 0 for each in wanted)
    assert {hashlib.sha256(each).digest() for each in wanted} <= found


def test_a_large_tensor_is_several_pieces(tmp_path: Path) -> None:
    whole = weights.tensors(2, count=1, rows=3000, columns=1000)
    (tmp_path / "file").write_bytes(weights.safetensors(whole))
    lengths = [len(piece) for piece in pieces(tmp_path / "file")]
    assert lengths.count(PART) == 12_000_000 // PART
    assert 12_000_000 % PART in lengths


def test_tensors_outside_of_an_onnx_model_are_told_by_it(tmp_path: Path) -> None:
    model, data = weights.onnx_outside(WHOLE, "model.data")
    (tmp_path / "m").write_bytes(model)
    (tmp_path / "d").write_bytes(data)
    with FileSource(tmp_path / "m") as source:
        told = [
            (offset, length) for location, offset, length in outside(source) if location == "model.data"
        ]
    assert len(told) == len(WHOLE)
    found = {hashlib.sha256(piece).digest() for piece in pieces(tmp_path / "d", told)}
    assert all(
        hashlib.sha256(array.tobytes()).digest() in found
        for key, array in WHOLE.items() if key.endswith("weight")
    )  # fmt: skip


def test_bytes_without_borders_are_cut_by_what_they_are(tmp_path: Path) -> None:
    """A byte in front moves everything, and most pieces stay."""
    data = os.urandom(40_000_000)
    (tmp_path / "a").write_bytes(data)
    (tmp_path / "b").write_bytes(b"!" + data)
    first = {hashlib.sha256(piece).digest() for piece in pieces(tmp_path / "a")}
    second = {hashlib.sha256(piece).digest() for piece in pieces(tmp_path / "b")}
    assert len(first & second) >= len(first) - 2


def test_an_empty_file_has_no_piece(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    assert pieces(tmp_path / "a") == []


@pytest.mark.parametrize("name", FORMATS)
@settings(max_examples=60)
@given(st.data())
def test_whatever_is_broken_is_cut_without_gaps(
    name: str, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    write: Callable[[weights.Tensors], bytes] = FORMATS[name]
    broken = bytearray(write(weights.tensors(3, count=2, rows=64, columns=128)))
    head = min(len(broken), 600)
    places = st.one_of(st.integers(0, head - 1), st.integers(len(broken) - head, len(broken) - 1))
    for _ in range(data.draw(st.integers(1, 6))):
        broken[data.draw(places)] = data.draw(st.integers(0, 255))
    cut_at = data.draw(st.integers(0, len(broken)))
    path = tmp_path_factory.mktemp("broken") / "file"
    path.write_bytes(broken[: data.draw(st.sampled_from([cut_at, len(broken)]))])
    pieces(path)


def test_a_header_that_claims_too_much_costs_nothing(tmp_path: Path) -> None:
    huge = (10**18).to_bytes(8, "little")
    for index, head in enumerate(
        (huge + b"{", b"GGUF\3\0\0\0" + huge + huge, b"\x08\x07\x3a" + b"\xff" * 9 + b"\1")
    ):
        path = tmp_path / str(index)
        path.write_bytes(head + os.urandom(300_000))
        pieces(path)
