"""What is among the files of a model that holds no code is never imported."""

from pathlib import Path

import pytest

from executor.process import ExecutorProcess, signature, spec
from modelyard_executor.adapter import Item, ItemError
from modelyard_executor.adapters.record_adapter import RecordAdapter
from modelyard_executor.adapters.rows import Rows
from modelyard_executor.tensor import Tensor


@pytest.mark.parametrize("adapter", ["gguf", "image", "audio"])
def test_a_file_called_like_a_package_is_not_imported(tmp_path: Path, adapter: str) -> None:
    """A repository of the hub may hold a torch.py; only a family's folder, which is a program, is on the path."""
    files = tmp_path / "model"
    files.mkdir()
    ran = tmp_path / "ran"
    for name in ("xllamacpp", "transformers", "torch", "soundfile", "PIL"):
        (files / f"{name}.py").write_text(f"open({str(ran)!r}, 'w').close()\nraise SystemExit\n")
    text = spec("prompt", "BYTES", kind="text")
    options = {
        "signature": signature([text], [text]),
        "file": "a.gguf",
        "context": 8,
        "task": "speech-recognition",
    }
    with ExecutorProcess(tmp_path) as executor:
        answer = executor.start(adapter, files, options)
        assert answer["type"] == "FAILED"
        assert not ran.exists()


class Forgetful(RecordAdapter):
    """Answers all but the first."""

    def open(self, files, device, options) -> None:
        pass

    def compute(self, records):
        return [{"out": record["text"]} for record in records[1:]] if len(records) > 1 else [{"out": "x"}]


def test_answers_that_are_too_few_go_to_nobody(tmp_path: Path) -> None:
    adapter = Forgetful()
    described = signature([spec("text", "BYTES", kind="text")], [spec("out", "BYTES", kind="text")])
    adapter._signature, adapter._rows, adapter._defaults = described, Rows(described), {}
    items = [Item({"text": Tensor("BYTES", (1,), b"\x01\x00\x00\x00" + letter)}) for letter in (b"a", b"b")]
    with pytest.raises(ItemError, match="answered 1 of 2 records"):
        adapter.predict(items)
    assert adapter.predict(items[:1])[0]["out"].data.endswith(b"x")
