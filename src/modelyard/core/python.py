"""Which versions of Python a model runs on, as its author writes it."""

from typing import TYPE_CHECKING, Final

from modelyard.core.errors import InvalidInput

if TYPE_CHECKING:
    from packaging.specifiers import SpecifierSet

LEAST: Final = "3.9"  # what the executor's grammar and standard library ask for


def python_versions(*texts: str, field: str = "python") -> "SpecifierSet":
    """The versions that all ``texts`` allow: each a PEP 440 specifier set (``>=3.9,<3.11``), or one version
    (``3.10`` is any 3.10.x, ``3.10.4`` that one). None below the executor's own is among them.

    Raises InvalidInput for a text that is neither, and for texts that allow no Python that an executor runs on.
    """
    from packaging.specifiers import SpecifierSet

    allowed = SpecifierSet(f">={LEAST}")
    for text in texts:
        allowed &= _specifiers(text, field)
    if not any(allowed.contains(f"3.{minor}.{patch}") for minor in range(9, 40) for patch in range(40)):
        told = " and ".join(map(repr, texts))
        raise InvalidInput(
            f"{told[:120]} allows no Python that a model can run on here: {LEAST} or newer.", field=field
        )
    return allowed


def _specifiers(text: str, field: str) -> "SpecifierSet":
    from packaging.specifiers import InvalidSpecifier, SpecifierSet
    from packaging.version import InvalidVersion, Version

    told = text.strip()
    try:
        if told[:1].isdigit():
            told = f"=={told}.*" if len(Version(told).release) < 3 else f"=={told}"
        found = SpecifierSet(told)
    except (InvalidSpecifier, InvalidVersion):
        found = None
    if not found:
        raise InvalidInput(
            f"{text[:60]!r} is no version of Python; write it as '>=3.9,<3.11', or '3.10'.", field=field
        )
    return found
