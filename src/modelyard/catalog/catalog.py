"""All entries: read, found by name, filtered, searched."""

import difflib
from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final, NamedTuple

import msgspec
import yaml

from modelyard.catalog.entry import Entry, check_entry
from modelyard.core.errors import Internal, InvalidInput, NotFound

# Where only the parameters are known: float32, and a fifth more for what a runtime takes beside them.
BYTES_PER_PARAMETER: Final = 4 * 1.2


class Memory(NamedTuple):
    """Bytes that a model needs; ``stated`` by its page, or estimated from its parameters."""

    bytes: int
    stated: bool


class Filter(NamedTuple):
    """What an entry is to be; None, False and "" ask for nothing. Sizes in bytes."""

    category: str | None = None
    adapter: str | None = None
    framework: str | None = None
    commercial: bool = False
    no_gpu: bool = False
    max_memory: int | None = None
    max_parameters: int | None = None
    text: str = ""


class Catalog:
    """Entries by name, in the order of their names."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self.entries = {entry.name: entry for entry in sorted(entries, key=lambda entry: entry.name)}

    def get(self, name: str) -> Entry:
        """One entry. Raises NotFound, with the names that are near."""
        entry = self.entries.get(name)
        if entry is None:
            near = difflib.get_close_matches(name.lower(), self.entries, n=3, cutoff=0.5)
            hint = f" Did you mean {', '.join(near)}?" if near else ""
            raise NotFound(
                f"The catalog has no {name!r}.{hint} See: modelyard catalog search TEXT", field="name"
            )
        return entry

    def find(self, wanted: Filter) -> list[Entry]:
        """The entries that are all of it, the best matches of its text first. What an entry does not say
        (its memory, its parameters) is not taken for small."""
        found: list[tuple[int, Entry]] = []
        for entry in self.entries.values():
            rank = _rank(entry, wanted.text)
            if rank is not None and _is(entry, wanted):
                found.append((rank, entry))
        return [entry for _, entry in sorted(found, key=lambda each: (each[0], each[1].name))]

    def unknown(self, wanted: Filter) -> list[Entry]:
        """Those that :meth:`find` leaves out only because they do not say how large they are."""
        of_any_size = self.find(wanted._replace(max_memory=None, max_parameters=None))
        return [entry for entry in of_any_size if _small(entry, wanted) is None]

    def categories(self) -> dict[str, int]:
        """How many entries each category has."""
        counts: dict[str, int] = {}
        for entry in self.entries.values():
            counts[entry.category] = counts.get(entry.category, 0) + 1
        return dict(sorted(counts.items()))


def memory_of(entry: Entry) -> Memory | None:
    """What ``entry`` needs: in the smallest precision that its page states, else estimated in float32; None
    while neither is known."""
    if entry.memory:
        return Memory(min(entry.memory.values()), stated=True)
    if entry.parameters is not None:
        return Memory(round(entry.parameters * BYTES_PER_PARAMETER), stated=False)
    return None


@cache
def load() -> Catalog:
    """The catalog that comes with Modelyard. Raises Internal for an entry that is not one."""
    return Catalog(map(read, sorted(files("modelyard.catalog").joinpath("entries").iterdir(), key=str)))


def read(file: Traversable) -> Entry:
    """One file. Raises Internal, naming it."""
    try:
        entry = msgspec.convert(yaml.load(file.read_bytes(), yaml.CSafeLoader), Entry)
        check_entry(entry)
        if file.name != f"{entry.name}.yaml":
            raise InvalidInput(f"The entry calls itself {entry.name!r}.", field="name")
    except (yaml.YAMLError, msgspec.ValidationError, InvalidInput, UnicodeDecodeError) as error:
        raise Internal(f"The catalog's {file.name} is wrong: {error}") from error
    return entry


def _is(entry: Entry, wanted: Filter) -> bool:
    return (
        wanted.category in (None, entry.category)
        and wanted.adapter in (None, entry.adapter)
        and wanted.framework in (None, entry.framework)
        and (entry.licence.commercial or not wanted.commercial)
        and not (wanted.no_gpu and entry.gpu == "required")
        and _small(entry, wanted) is True
    )


def _small(entry: Entry, wanted: Filter) -> bool | None:
    """Whether it is within the sizes that are wanted; None when nothing known is over, and something is unknown."""
    memory = memory_of(entry)
    sizes = (
        (wanted.max_memory, None if memory is None else memory.bytes),
        (wanted.max_parameters, entry.parameters),
    )
    within = [size is None or size <= most for most, size in sizes if most is not None]
    if not all(within):
        return False
    return None if any(size is None for most, size in sizes if most is not None) else True


def _rank(entry: Entry, text: str) -> int | None:
    """How well the words of ``text`` fit (0 is best); None when one of them is nowhere."""
    worst = 0
    for word in text.lower().split():
        places = (
            entry.name,
            f"{entry.title} {' '.join(entry.tags)}".lower(),
            f"{entry.category} {entry.adapter} {entry.framework} {entry.licence.spdx}".lower(),
            f"{entry.description} {entry.source.hub or ''} {entry.source.package or ''}".lower(),
        )
        place = next((rank for rank, where in enumerate(places) if word in where), None)
        if place is None:
            return None
        worst = max(worst, place)
    return worst
