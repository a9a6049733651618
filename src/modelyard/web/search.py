"""A search as the address of a page says it: read, checked, and written with one thing changed."""

from collections.abc import Iterable
from typing import Any, Final, NamedTuple
from urllib.parse import urlencode

from pydantic import ValidationError

from modelyard.control.errors import field_of
from modelyard.control.requests import SearchQuery
from modelyard.core.errors import InvalidInput
from modelyard.core.listing import BY_METRIC
from modelyard.core.units import parse_bytes, parse_count

Pairs = tuple[tuple[str, str], ...]
_READ: Final = {
    "min_size": parse_bytes, "max_size": parse_bytes, "min_parameters": parse_count, "max_parameters": parse_count,
}  # fmt: skip
# What says where in the search one is, or how it is shown, and not what is searched for.
_MANNER: Final = ("sort", "cursor", "limit")


class Search(NamedTuple):
    """What is ``given`` in the address, as it was written there, and the query that it means."""

    given: Pairs
    query: SearchQuery

    def get(self, name: str) -> str:
        """What is given for ``name``; empty when nothing is."""
        return next((value for key, value in self.given if key == name), "")

    def having(self, name: str, value: str) -> str:
        """The query of the address with ``name`` as ``value`` (empty: without it), from the first page."""
        kept = [(key, each) for key, each in self.given if key not in (name, "cursor")]
        return _written([*kept, (name, value)])

    def adding(self, name: str, value: str) -> str:
        """The same with one more value of ``name``."""
        kept = [pair for pair in self.given if pair != (name, value) and pair[0] != "cursor"]
        return _written([*kept, (name, value)])

    def without(self, name: str, value: str) -> str:
        """The same without one of the values of ``name``."""
        return _written(pair for pair in self.given if pair != (name, value) and pair[0] != "cursor")

    def instead(self, name: str, value: str, other: str) -> str:
        """The same with another value of ``name`` in place of one."""
        kept = [pair for pair in self.given if pair != (name, value) and pair[0] != "cursor"]
        return _written([*kept, (name, other)])

    def following(self, cursor: str) -> str:
        """The page behind ``cursor``."""
        return _written([*(pair for pair in self.given if pair[0] != "cursor"), ("cursor", cursor)])

    @property
    def filters(self) -> Pairs:
        """What is asked for, without the order."""
        return tuple(pair for pair in self.given if pair[0] not in _MANNER)


def read_search(pairs: Iterable[tuple[str, str]]) -> Search:
    """What an address asks for; a field that was left empty asks for nothing. Raises InvalidInput, also for a name that
    nothing is known of."""
    given = _meant(dict.fromkeys((name, value.strip()) for name, value in pairs if value.strip()))
    told: dict[str, Any] = {}
    for name, value in given:
        if name in ("tag", "metric"):
            told.setdefault(name, []).append(value)
        else:
            told[name] = _READ[name](value, field=name) if name in _READ else value
    try:
        return Search(given, SearchQuery.model_validate(told))
    except ValidationError as error:
        first = error.errors()[0]
        field = field_of(first["loc"])
        if first["type"] == "extra_forbidden":
            raise InvalidInput(f"{field!r} is nothing that can be searched by.", field=field) from error
        raise InvalidInput(f"{field}: {first['msg']}.", field=field) from error


def _meant(pairs: Iterable[tuple[str, str]]) -> Pairs:
    """Without an order by figures when none is asked for any more: it has lost its meaning."""
    kept = tuple(pairs)
    if any(name == "metric" for name, _ in kept):
        return kept
    return tuple((name, value) for name, value in kept if name != "sort" or value not in BY_METRIC)


def _written(pairs: Iterable[tuple[str, str]]) -> str:
    text = urlencode(_meant(pair for pair in pairs if pair[1]))
    return f"?{text}" if text else "?"
