"""What the adapters of ``families/`` share: models whose code and weights come as a Python package.

The package's folders lie among the version's files (``antiberty/…``), so that weights, code and digest are
one thing, and the environment holds only what the package imports. A family is one file with

``FAMILY``
    a dictionary of literals, which the platform reads without loading anything:

    ``format``        what its files are, for people
    ``files``         paths that tell it, with ``*`` for any part of a name: each must be there (none: it is
                      only chosen by ``adapter:`` in model.yaml)
    ``requirements``  what the environment needs, PEP 508 lines
    ``signature``     the signature, with a batch axis; parameters are put into each record
    ``example``       a record that it can answer, or None
    ``holds``         other families whose package is among the files

``Adapter``
    a subclass of :class:`Family` with ``open`` and ``compute``, and ``check`` for what types do not tell.
"""

import os
import sys
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence, Union

from ..adapter import Container, Cost, InvalidInput, Item, ItemError, Outputs, Resources, Signature
from .rows import Rows

Record = Dict[str, Any]


class Family:
    """Rows of all calls of a batch computed together, each with the parameters of its call."""

    COST: Cost = {"cost": "rows", "shape": "rows"}
    SYSTEM: Sequence[str] = ()  # packages of the system

    def open(self, files: Path, device: str, options: Mapping[str, Any]) -> None:
        """Load the model; the package's folders can be imported."""
        raise NotImplementedError

    def check(self, record: Record) -> None:
        """Raise InvalidInput (``inputs.name``) for what the model cannot answer."""

    def compute(self, records: Sequence[Record]) -> Sequence[Union[Record, ItemError]]:
        """One result for each record: outputs by name, or its own error."""
        raise NotImplementedError

    def load(self, files: Path, device: str, options: Mapping[str, Any]) -> None:
        """``options``: ``signature``, ``threads``."""
        sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
        # Before the framework is imported, which is when its libraries read it.
        os.environ["OMP_NUM_THREADS"] = str(options["threads"])
        sys.dont_write_bytecode = True  # a version's folder stays as it was laid out
        sys.path.insert(0, str(files))
        self._signature: Signature = dict(options["signature"])
        self._rows = Rows(self._signature)
        self._defaults = {each["name"]: each.get("default") for each in self._signature["parameters"]}
        self._size = sum(file.stat().st_size for file in files.rglob("*") if file.is_file())
        self.open(files, device, options)

    def signature(self) -> Signature:
        return self._signature

    def cost(self) -> Cost:
        return dict(self.COST)

    def example(self) -> Optional[Dict[str, Any]]:
        return None

    def validate(self, item: Item) -> None:
        """Read the item's records, and check each. Raises InvalidInput, with the row where there are several."""
        item.prepared = records = self._records(item)
        for row, record in enumerate(records):
            try:
                self.check(record)
            except InvalidInput as error:
                if len(records) > 1:
                    raise InvalidInput("%s[%d]" % (error.field, row), error.message) from None
                raise

    def predict(self, items: Sequence[Item]) -> Sequence[Union[Outputs, ItemError]]:
        rows: List[List[Record]] = [
            self._records(item) if item.prepared is None else item.prepared for item in items
        ]
        results = self.compute([record for records in rows for record in records])
        answers: List[Union[Outputs, ItemError]] = []
        position = 0
        for records in rows:
            own = results[position : position + len(records)]
            position += len(records)
            answers.append(self._answer(own))
        return answers

    def _records(self, item: Item) -> List[Record]:
        return [dict(self._defaults, **record) for record in self._rows.records(item)]

    def _answer(self, results: Sequence[Union[Record, ItemError]]) -> Union[Outputs, ItemError]:
        try:
            for result in results:
                if isinstance(result, ItemError):
                    raise result
            return self._rows.answer(results)
        except ItemError as error:
            return error

    def resources(self) -> Resources:
        return {"memory_bytes": self._size, "device": "cpu"}

    def container(self) -> Container:
        return {"image": "python", "system_packages": list(self.SYSTEM)}


def alike(records: Sequence[Record], names: Sequence[str]) -> "List[List[int]]":
    """The indexes of records that have the same values of ``names``, together; in the order of the first."""
    groups: Dict[Any, List[int]] = {}
    for index, record in enumerate(records):
        groups.setdefault(tuple(record[name] for name in names), []).append(index)
    return list(groups.values())


def residues(record: Record, name: str, allowed: str, *, most: Optional[int] = None) -> str:
    """The sequence ``record[name]`` in upper case. Raises InvalidInput with the position of what is none.

    It is written back into the record.
    """
    field = "inputs." + name
    sequence = record[name] = record[name].strip().upper()
    if not sequence:
        raise InvalidInput(field, "The sequence is empty.")
    for position, letter in enumerate(sequence):
        if letter not in allowed:
            raise InvalidInput(
                field, "%s[%d]: %r is not an amino acid (%s)." % (name, position, letter, allowed)
            )
    if most is not None and len(sequence) > most:
        raise InvalidInput(
            field, "The sequence has %d residues; the model reads at most %d." % (len(sequence), most)
        )
    return sequence
