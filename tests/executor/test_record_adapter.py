"""What is among the files of a model that holds no code is never imported."""

from pathlib import Path

import pytest

from executor.process import ExecutorProcess, signature, spec


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
