"""Magika, the type of a file from a small part of its bytes."""

from pathlib import Path
from typing import Any, List, Mapping, Sequence

from ..family import Family, Record

FAMILY = {
    "format": "Magika",
    "files": ["magika/__init__.py", "magika/models/*/model.onnx"],
    "requirements": ["onnxruntime>=1.17,<2", "numpy>=1.26,<3", "click>=8.1"],
    "signature": {
        "inputs": [
            {
                "name": "file",
                "datatype": "BYTES",
                "shape": [],
                "kind": "bytes",
                "description": "The whole file.",
            },
        ],
        "outputs": [
            {
                "name": "label",
                "datatype": "BYTES",
                "shape": [],
                "kind": "label",
                "description": "The content type.",
            },
            {
                "name": "score",
                "datatype": "FP32",
                "shape": [],
                "description": "How sure the model is, 0 to 1.",
            },
            {"name": "mime_type", "datatype": "BYTES", "shape": [], "kind": "label"},
            {"name": "group", "datatype": "BYTES", "shape": [], "kind": "label"},
            {"name": "description", "datatype": "BYTES", "shape": [], "kind": "text"},
        ],
        "parameters": [],
    },
    "example": {"file": "import os\n\n\ndef main():\n    print(os.environ['HOME'])\n\n\nmain()\n"},
}


class Adapter(Family):
    """One file at a time, as the package does."""

    def open(self, files: Path, device: str, options: Mapping[str, Any]) -> None:
        from magika import Magika  # type: ignore[attr-defined]

        self._magika = Magika()

    def compute(self, records: Sequence[Record]) -> List[Record]:
        return [self._identify(record["file"]) for record in records]

    def _identify(self, content: bytes) -> Record:
        found = self._magika.identify_bytes(content)
        kind = found.output
        return {
            "label": str(kind.label),
            "score": float(found.score),
            "mime_type": kind.mime_type,
            "group": kind.group,
            "description": kind.description,
        }
