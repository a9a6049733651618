"""Text to tokens by a folder's ``tokenizer.json``, and tokens to the arrays that an encoder takes."""

from pathlib import Path
from typing import Any, List, Sequence, Tuple

from ..adapter import LoadError
from .small_json import read_json


class Tokenizer:
    """The fast tokenizer of the first of ``folders`` that has one; texts are cut to ``max_length`` tokens.

    What was cut off an encoding stands in its ``overflowing``.
    """

    def __init__(self, folders: Sequence[Path], max_length: int) -> None:
        import numpy
        import tokenizers

        self._numpy = numpy
        for folder in folders:
            path = folder / "tokenizer.json"
            if path.is_file():
                break
        else:
            raise LoadError(
                "there is no tokenizer.json beside the model; save the model with a fast tokenizer"
            )
        try:
            self._tokenizer = tokenizers.Tokenizer.from_file(str(path))
        except Exception as error:
            # The tokenizers library raises plain Exception.
            raise LoadError("tokenizer.json cannot be read: %s" % error) from error
        config = read_json(path.parent / "config.json")
        told = read_json(path.parent / "tokenizer_config.json")
        padding = self._tokenizer.padding or {}
        self._pad_id = int(padding.get("pad_id", config.get("pad_token_id") or 0))
        self._pad_type = int(padding.get("pad_type_id", 0))
        self._pad_left = (told.get("padding_side") or padding.get("direction", "right")) == "left"
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(max_length=max_length)
        mask = told.get("mask_token")
        self.mask = str(mask.get("content") if isinstance(mask, dict) else mask or "")
        self.mask_id = self._tokenizer.token_to_id(self.mask) if self.mask else None

    def encode(self, texts: Sequence[str]) -> List[Any]:
        """All at once: the tokenizer then leaves the interpreter to the batch that computes."""
        return self._tokenizer.encode_batch(list(texts))

    def token(self, number: int) -> str:
        """A token as text."""
        return self._tokenizer.decode([number])

    def arrays(self, encodings: Sequence[Any]) -> Tuple[Any, Any, Any]:
        """Ids, mask and token types, INT64 [texts, tokens], padded to the longest."""
        numpy = self._numpy
        longest = max(1, max(len(encoding.ids) for encoding in encodings))
        shape = (len(encodings), longest)
        ids = numpy.full(shape, self._pad_id, dtype="int64")
        types = numpy.full(shape, self._pad_type, dtype="int64")
        mask = numpy.zeros(shape, dtype="int64")
        for row, encoding in enumerate(encodings):
            place = self.place(len(encoding.ids), longest)
            ids[row, place] = encoding.ids
            types[row, place] = encoding.type_ids
            mask[row, place] = 1
        return ids, mask, types

    def place(self, length: int, longest: int) -> slice:
        """Where a text of ``length`` tokens stands among ``longest``."""
        return slice(longest - length, longest) if self._pad_left else slice(0, length)
