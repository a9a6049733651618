"""How people name a version: ``fraud`` (its latest), ``fraud/3``, ``fraud@production``."""

import re

from modelyard.core.errors import InvalidInput
from modelyard.core.names import check_name
from modelyard.core.struct import Noun

LATEST = "latest"
LARGEST_NUMBER = 2**31 - 1


class Reference(Noun):
    """A model, and which of its versions: a number, an alias, or None for the latest."""

    model: str
    which: int | str | None = None

    def __str__(self) -> str:
        if self.which is None:
            return self.model
        return f"{self.model}{'/' if isinstance(self.which, int) else '@'}{self.which}"


def parse_reference(text: str, *, field: str = "version") -> Reference:
    """``text`` as people write it. Raises InvalidInput that says how."""
    model, mark, which = re.fullmatch(r"([^/@]*)([/@]?)(.*)", text, re.DOTALL).groups()  # type: ignore[union-attr]
    check_name(model, field=field)
    if not mark:
        return Reference(model=model)
    if mark == "/":
        if re.fullmatch(r"0*[1-9][0-9]{0,9}", which) is None or int(which) > LARGEST_NUMBER:
            raise InvalidInput(
                f"{text[:120]!r} names no version; write {model}/3 for a number, {model}@production for an alias.",
                field=field,
            )
        return Reference(model=model, which=int(which))
    if which == LATEST:
        return Reference(model=model)
    return Reference(model=model, which=check_alias(which, field=field))


def parse_model(text: str, *, field: str = "model") -> str:
    """``text`` where a model is named and none of its versions. Raises InvalidInput that says so."""
    model = re.split("[/@]", text, maxsplit=1)[0]
    if model and model != text:
        raise InvalidInput(
            f"{text[:120]!r} names a version; give the model's name without one: {model[:80]}.", field=field
        )
    return check_name(text, field=field)


def parse_which(text: str, *, field: str = "version") -> int | str | None:
    """The part behind the model: ``3``, ``production``, ``latest`` (None). Raises InvalidInput."""
    if text == LATEST:
        return None
    if text.isascii() and text.isdigit():
        number = int(text[:11])
        if not 1 <= number <= LARGEST_NUMBER:
            raise InvalidInput(f"{text[:20]} is no number of a version; they begin with 1.", field=field)
        return number
    return check_alias(text, field=field)


def check_alias(name: str, *, field: str = "alias") -> str:
    """``name`` if it can be an alias; raise InvalidInput else: what looks like a number of a version, and
    ``latest``, mean something already."""
    check_name(name, field=field)
    if name.isdigit() or name == LATEST:
        raise InvalidInput(
            f"{name!r} cannot be an alias: numbers are versions, and 'latest' is the newest of them. Choose another "
            "name, such as production.",
            field=field,
        )
    return name
