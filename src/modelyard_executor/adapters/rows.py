"""Between an item's tensors and records of Python values; for models that take and give plain Python."""

from typing import Any, Collection, Dict, List, Sequence

from ..adapter import Item, ItemError, Outputs, Signature
from .values import python_values, stack, tensor_of


class Rows:
    """By a signature: what a call has as one record for each of its rows, and results as its answer.

    ``arrays`` are the inputs that the model takes as numpy arrays.
    """

    def __init__(self, signature: Signature, arrays: Collection[str] = ()) -> None:
        self.inputs: Dict[str, Dict[str, Any]] = {spec["name"]: spec for spec in signature["inputs"]}
        self.outputs: Dict[str, Dict[str, Any]] = {
            spec["name"]: spec for spec in signature.get("outputs") or ()
        }
        self.batched = bool(signature.get("batched", True))
        self._arrays = arrays

    def records(self, item: Item) -> List[Dict[str, Any]]:
        """The item as records of Python values; one, unless the signature has a batch axis."""
        columns: Dict[str, List[Any]] = {}
        for name, tensor in item.inputs.items():
            columns[name] = python_values(
                tensor, self.inputs[name], batched=self.batched, array=name in self._arrays
            )
        count = max([len(column) for column in columns.values()], default=1)
        return [
            dict(item.parameters, **{name: column[row] for name, column in columns.items()})
            for row in range(count)
        ]

    def answer(self, results: Sequence[Any]) -> Outputs:
        """The results of an item's records as its tensors. Raises ItemError when they do not fit."""
        rows = [self.named(result) for result in results]
        tensors = [
            {name: tensor_of(name, value, self.outputs.get(name)) for name, value in row.items()}
            for row in rows
        ]
        if not self.batched:
            return tensors[0]
        if any(row.keys() != tensors[0].keys() for row in tensors):
            raise ItemError("The model answered different outputs for the records of one call.")
        return {name: stack(name, [row[name] for row in tensors]) for name in tensors[0]} if tensors else {}

    def named(self, result: Any) -> Dict[str, Any]:
        """The result by the names of the outputs; checked against those that are declared."""
        declared = self.outputs
        if not isinstance(result, dict):
            result = {"output": result}
        elif len(declared) == 1:
            (spec,) = declared.values()
            if spec.get("kind") == "json" and spec["name"] not in result:
                result = {spec["name"]: result}
        for name in result:
            if not isinstance(name, str):
                raise ItemError("The model answered an output named %r; names are text." % (name,))
            if declared and name not in declared:
                raise ItemError(
                    "The model answered an output %r; its signature has %s."
                    % (name, ", ".join(sorted(declared)))
                )
        for name, spec in declared.items():
            if name not in result and not spec.get("optional"):
                raise ItemError("The model answered without its output %r." % name)
        return result
