"""What adapters share whose models take records of Python values and give such: calls to records and back."""

import os
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence, Union

from ..adapter import Container, Cost, InvalidInput, Item, ItemError, Outputs, Resources, Signature
from .rows import Rows

Record = Dict[str, Any]


class RecordAdapter:
    """Rows of all calls of a batch computed together, each with the parameters of its call."""

    COST: Cost = {"cost": "rows", "shape": "rows"}

    def open(self, files: Path, device: str, options: Mapping[str, Any]) -> None:
        """Load the model."""
        raise NotImplementedError

    def check(self, record: Record) -> None:
        """Raise InvalidInput (``inputs.name``) for what the model cannot answer."""

    def compute(self, records: Sequence[Record]) -> Sequence[Union[Record, ItemError]]:
        """One result for each record, in their order: outputs by name, or its own error."""
        raise NotImplementedError

    def load(self, files: Path, device: str, options: Mapping[str, Any]) -> None:
        """``options``: ``signature``, ``threads``."""
        # Before the framework is imported, which is when its libraries read it.
        os.environ["OMP_NUM_THREADS"] = str(options["threads"])
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
        asked = [record for records in rows for record in records]
        results = self.compute(asked)
        if len(results) != len(asked):
            # Never one caller's answer to another: nothing tells which is missing.
            raise ItemError("The adapter's compute answered %d of %d records." % (len(results), len(asked)))
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
        return {"image": "python", "system_packages": []}


def alike(records: Sequence[Record], names: Sequence[str]) -> "List[List[int]]":
    """The indexes of records that have the same values of ``names``, together; in the order of the first."""
    groups: Dict[Any, List[int]] = {}
    for index, record in enumerate(records):
        groups.setdefault(tuple(record[name] for name in names), []).append(index)
    return list(groups.values())
