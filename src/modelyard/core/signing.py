"""File signatures: who vouches for a version's files with a key. (A *signature* alone is types and shapes.)"""

from typing import Literal

from modelyard.core.struct import Noun

SIGNATURE_PATH = "model.sig"
SignaturePolicy = Literal["off", "told", "required"]
# verified: by one of the keys · wrong: the files are others, or the key is right and the signature is not ·
# unknown_key: none of the keys made it · unchecked: there are no keys, or the library that checks is not here
Verdict = Literal["verified", "wrong", "unknown_key", "unchecked"]


class FileSignature(Noun):
    """A signature over all files of a version, as the bundle (JSON text) of model-signing.

    ``digest`` is the bundle's SHA-256, ``place`` the path in the version that it came at (empty: added later),
    ``who`` brought it and when (seconds since the epoch). ``verdict`` is what this platform's keys say of it now,
    ``key`` the name of the one that verified it, and ``why`` a sentence.
    """

    digest: str
    bundle: str
    place: str = ""
    who: str = ""
    created: float = 0.0
    verdict: Verdict = "unchecked"
    key: str | None = None
    why: str = ""
