"""Protein sequences as tokens of ESM-2, by a table of our own: 33 tokens, one per residue.

The order is that of ``vocab.txt`` beside the published weights
(https://huggingface.co/facebook/esm2_t6_8M_UR50D); a folder's own vocab.txt, when there, is what counts.
"""

from pathlib import Path
from typing import Dict, Sequence

from ..adapter import InvalidInput, LoadError

VOCABULARY = (
    "<cls>", "<pad>", "<eos>", "<unk>", "L", "A", "G", "V", "S", "E", "R", "T", "I", "D", "P", "K", "Q", "N",
    "F", "Y", "M", "H", "W", "C", "X", "B", "U", "Z", "O", ".", "-", "<null_1>", "<mask>",
)  # fmt: skip
# The twenty, and what databases write besides: X any, B (D or N), Z (E or Q), U selenocysteine, O pyrrolysine.
STANDARD = "ACDEFGHIKLMNPQRSTVWY"
_TAKEN = STANDARD + "XBZUO"
_MASK = b"<mask>"
_MASK_BYTE = b"\x01"  # stands for <mask> while a sequence is translated byte by byte
_NO_RESIDUE = 255


class Alphabet:
    """From a sequence to the tokens that the model reads, one byte each."""

    def __init__(self, vocabulary: Sequence[str] = VOCABULARY) -> None:
        """Raises LoadError for a vocabulary that lacks what an ESM-2 has."""
        places: Dict[str, int] = {token: place for place, token in enumerate(vocabulary)}
        missing = [token for token in ("<cls>", "<pad>", "<eos>", "<mask>", *_TAKEN) if token not in places]
        if missing or len(places) != len(vocabulary) or len(places) >= _NO_RESIDUE:
            raise LoadError(
                "the vocabulary is not that of an ESM-2: %s"
                % (
                    "it lacks " + " ".join(missing)
                    if missing
                    else "%d tokens, or one twice" % len(vocabulary)
                )
            )
        self.size = len(vocabulary)
        self.mask = places["<mask>"]
        self.standard = [places[letter] for letter in STANDARD]
        self._cls = bytes([places["<cls>"]])
        self._eos = bytes([places["<eos>"]])
        table = bytearray([_NO_RESIDUE] * 256)
        for letter in _TAKEN:
            table[ord(letter)] = table[ord(letter.lower())] = places[letter]
        table[_MASK_BYTE[0]] = self.mask
        self._table = bytes(table)

    @classmethod
    def of(cls, folder: Path) -> "Alphabet":
        """The alphabet of the folder's vocab.txt, or the published one when there is none."""
        path = folder / "vocab.txt"
        return cls(path.read_text("utf-8").split()) if path.is_file() else cls()

    def encode(self, sequence: bytes, limit: int, where: str) -> bytes:
        """Tokens of one sequence, one byte each, with those for begin and end around.

        ``limit`` is in residues; ``where`` names the sequence in an error. Raises InvalidInput for an
        empty sequence, one over the limit, or anything that is not an amino acid, with its position.
        """
        text = sequence.replace(_MASK, _MASK_BYTE) if _MASK in sequence else sequence
        tokens = text.translate(self._table)
        if not tokens:
            raise InvalidInput("inputs.sequence", "%s is empty; send at least one residue." % where)
        # A control character that a client sent must not pass for <mask>.
        position = tokens.find(_NO_RESIDUE) if _MASK_BYTE not in sequence else text.find(_MASK_BYTE)
        if position >= 0:
            # Letters, not bytes, are what a caller counts: whatever comes before is plain ASCII.
            wrong = text[position:].decode("utf-8", "replace")[0]
            raise InvalidInput(
                "inputs.sequence",
                "%s[%d]: %r is not an amino acid; known are %s, and <mask>."
                % (where, position, wrong, _TAKEN),
            )
        if len(tokens) > limit:
            raise InvalidInput(
                "inputs.sequence",
                "%s has %d residues; the model reads at most %d, and nothing is cut off silently: send "
                "parts of it." % (where, len(tokens), limit),
            )
        return self._cls + tokens + self._eos
