"""py3langid: the language of a text, of 139."""

from pathlib import Path
from typing import Any, List, Mapping, Sequence

from ...adapter import InvalidInput
from ..family import Family, Record

FAMILY = {
    "format": "py3langid",
    "files": ["py3langid/__init__.py", "py3langid/data/model.npz.xz"],
    "requirements": ["numpy>=2.0,<3"],
    "signature": {
        "inputs": [{"name": "text", "datatype": "BYTES", "shape": [], "kind": "text"}],
        "outputs": [
            {
                "name": "language",
                "datatype": "BYTES",
                "shape": [],
                "kind": "label",
                "description": "An ISO 639 code; zxx is no language",
            },
            {
                "name": "probability",
                "datatype": "FP64",
                "shape": [],
                "description": "Among the languages that are allowed",
            },
        ],
        "parameters": [
            {
                "name": "languages",
                "type": "string",
                "default": "",
                "description": "Codes of the only languages it may be, as in: de en fr",
            }
        ],
    },
    "example": {"text": "This should be enough text."},
}


class Adapter(Family):
    """One text after the other; the languages are those of its call."""

    COST = {"cost": "length", "of": "text", "shape": "ragged"}

    def open(self, files: Path, device: str, options: Mapping[str, Any]) -> None:
        from py3langid.langid import MODEL_FILE, LanguageIdentifier

        self._model = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
        self._known = set(self._model.labels)

    def check(self, record: Record) -> None:
        if not record["text"].strip():
            raise InvalidInput("inputs.text", "There is no text to tell the language of.")
        languages = record["languages"].replace(",", " ").lower().split()
        unknown = sorted(set(languages) - self._known)
        if unknown:
            raise InvalidInput(
                "parameters.languages",
                "The model does not know %s; it knows %s."
                % (", ".join(unknown), ", ".join(sorted(self._known))),
            )
        record["languages"] = tuple(sorted(set(languages)))

    def compute(self, records: Sequence[Record]) -> List[Record]:
        return [self._identify(record) for record in records]

    def _identify(self, record: Record) -> Record:
        self._model.set_languages(record["languages"] or None)
        language, probability = self._model.classify(record["text"])
        return {"language": language, "probability": probability}
