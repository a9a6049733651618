"""TorchScript modules."""

from pathlib import Path
from typing import Any, Dict, List, Mapping, Tuple

from ..adapter import Container, InvalidInput, Item, ItemError, LoadError
from ..tensor import DATATYPES, from_numpy
from .graph import Arrays, Graph
from .torch_arrays import prepare, to_numpy, to_torch


class Adapter(Graph):
    """One module, whose ``forward`` is called by the names of its arguments."""

    careful = True  # nothing in the file says which axis is the batch's

    def open(self, files: Path, device: str, options: Mapping[str, Any]) -> None:
        """``options``: ``file``; ``arguments`` of forward ([name, type as written, whether it has a default]);
        ``defaults``; ``traced`` ([data type, shape] of each argument) where the signature is found by trying."""
        self._torch = prepare(int(options["threads"]))
        path = files / str(options["file"])
        self._size = path.stat().st_size
        self._device = device
        self._arguments: List[Any] = options["arguments"]
        self._defaults: Dict[str, Any] = options["defaults"]
        try:
            self._module = self._torch.jit.load(str(path), map_location=device).eval()
        except (RuntimeError, ValueError) as error:
            message = str(error).split("\nException raised from")[0]
            raise LoadError("PyTorch cannot load %s: %s" % (path.name, message[:1000])) from error
        self._bfloat16 = frozenset()
        if not self._signature:
            self._find_signature(options["traced"])

    def validate(self, item: Item) -> None:
        """Numbers and texts that forward has no default for."""
        for name, kind, has_default in self._arguments:
            if "Tensor" not in kind and not has_default and item.parameters.get(name) is None:
                raise InvalidInput("parameters." + name, "The parameter %r has no default; send it." % name)

    def run(self, feeds: Arrays, parameters: Mapping[str, Any]) -> Arrays:
        given = self._call(feeds, parameters)
        wanted = {spec["name"]: spec["datatype"] for spec in self._signature["outputs"]}
        if not set(wanted) <= set(given):
            if len(given) != len(wanted):
                raise ItemError(
                    "The model gives %d tensors (%s), and its signature names %d; mend model.yaml."
                    % (len(given), ", ".join(given), len(wanted))
                )
            given = dict(zip(wanted, given.values()))
        for name, datatype in wanted.items():
            if given[name].dtype.name != DATATYPES[datatype][1]:
                raise ItemError(
                    "The model gives %r as %s, and its signature says %s; mend model.yaml."
                    % (name, given[name].dtype, datatype)
                )
        return {name: given[name] for name in wanted}

    def _call(self, feeds: Arrays, parameters: Mapping[str, Any]) -> Arrays:
        """What forward gives, by name (keys; numbers where there are none)."""
        given: Dict[str, Any] = {}
        for name, kind, has_default in self._arguments:
            if name in feeds:
                given[name] = to_torch(feeds[name], self._device, bfloat16=name in self._bfloat16)
            elif "Tensor" in kind:
                if not has_default:
                    given[name] = None
            elif parameters.get(name) is not None:
                given[name] = parameters[name]
        try:
            with self._torch.no_grad():
                answer = self._module(**given)
        except (RuntimeError, IndexError) as error:
            # The interpreter tells the class of an error in its text alone.
            if "index out of range" not in str(error):
                raise
            raise InvalidInput(
                "inputs", "The module cannot take this: an index is out of range."
            ) from error
        found: Dict[str, Any] = {}
        self._flatten(answer, "", found)
        return found

    def _flatten(self, value: Any, name: str, found: Dict[str, Any]) -> None:
        if isinstance(value, self._torch.Tensor):
            found[name or "output"] = to_numpy(value)
            return
        if isinstance(value, dict):
            pairs: List[Tuple[Any, Any]] = list(value.items())
        elif hasattr(value, "_fields"):
            pairs = list(zip(value._fields, value))
        elif isinstance(value, (list, tuple)):
            name = name or "output"
            pairs = list(enumerate(value))
        elif value is None or isinstance(value, (bool, int, float, str)):
            return  # no tensor, so it is not sent
        else:
            raise ItemError("The model gives a %s; only tensors can be sent." % type(value).__name__)
        for key, each in pairs:
            self._flatten(each, "%s_%s" % (name, key) if name else str(key), found)

    def _find_signature(self, traced: List[Any]) -> None:
        """By trying: with as many records as the model was not traced with, then with what it was traced with."""
        names = [name for name, _, _ in self._arguments]
        shapes = [list(shape) for _, shape in traced]
        datatypes = [datatype for datatype, _ in traced]
        self._bfloat16 = frozenset(name for name, datatype in zip(names, datatypes) if datatype == "BF16")
        datatypes = ["FP32" if datatype == "BF16" else datatype for datatype in datatypes]
        firsts = {shape[0] if shape else -1 for shape in shapes}
        self._signature = {"outputs": [], "parameters": [], "max_batch": None, "batched": False}
        if len(firsts) == 1 and -1 not in firsts:
            self._signature["inputs"] = _specs(names, datatypes, [shape[1:] for shape in shapes])
            rows = 4 if firsts == {3} else 3
            try:
                self._signature["outputs"] = self._outputs(rows, batched=True)
                self._signature["batched"] = self._alike(rows)
            except (RuntimeError, ValueError, IndexError, ItemError):
                pass  # it was traced for exactly as many
        if not self._signature["batched"]:
            self._signature["inputs"] = _specs(names, datatypes, shapes)
            self._signature["outputs"] = self._outputs(0, batched=False)

    def _outputs(self, rows: int, *, batched: bool) -> List[Dict[str, Any]]:
        given = self._call(self.made_up(rows), {})
        if batched and any(self._rows(output) != rows for output in given.values()):
            raise ItemError("its outputs have other rows than its inputs")
        tensors = {name: from_numpy(output) for name, output in given.items()}
        return _specs(
            list(tensors),
            [tensor.datatype for tensor in tensors.values()],
            [list(tensor.shape[batched:]) for tensor in tensors.values()],
        )

    def container(self) -> Container:
        return {"image": "torch", "system_packages": []}


def _specs(names: List[str], datatypes: List[str], shapes: List[List[int]]) -> List[Dict[str, Any]]:
    return [
        {
            "name": name,
            "datatype": datatype,
            "shape": shape,
            "kind": "tensor",
            "optional": False,
            "description": "",
        }
        for name, datatype, shape in zip(names, datatypes, shapes)
    ]
