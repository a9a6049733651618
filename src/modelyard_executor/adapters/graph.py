"""What models share that take arrays by name and give arrays by name: calls put together along the first axis, answers
cut apart again."""

from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple, Union

from ..adapter import Container, Cost, Item, ItemError, Outputs, Resources, Signature
from ..tensor import DATATYPES, Tensor, from_numpy, split_rows

Arrays = Dict[str, Any]


class Graph:
    """A subclass opens its framework's model and runs it; items of one inner shape are computed together.

    ``options``: ``signature`` (of the analysis; None where ``open`` finds it), ``threads``, and the subclass' own.
    ``known``, where it is set before, is the signature that this adapter came to before, of the same files.
    """

    least = 1  # rows that the model takes at least; fewer are filled up with copies of the last
    known: Optional[Signature] = None
    careful = False  # whether rows put together must be seen to come out as they do alone

    def load(self, files: Path, device: str, options: Mapping[str, Any]) -> None:
        import numpy

        self._numpy = numpy
        self._signature: Signature = dict(options["signature"] or {})
        self._size = 0
        self.open(files, device, options)
        if self.known:
            self._signature = dict(self.known)  # what trying it came to before
        elif self._together and not self._batches():
            self._take_apart()

    def open(self, files: Path, device: str, options: Mapping[str, Any]) -> None:
        """Load the model; set ``_size``, and ``_signature`` where the analysis told none. Raises LoadError."""
        raise NotImplementedError

    def run(self, feeds: Arrays, parameters: Mapping[str, Any]) -> Arrays:
        """The outputs by name. Raises what the framework raises."""
        raise NotImplementedError

    def done(self) -> None:
        """Called when a batch's answers are there."""

    def array(self, tensor: Tensor) -> Any:
        """A tensor as the framework wants it."""
        return tensor.numpy()

    def made_up(self, rows: int, seed: int = 0) -> Arrays:
        """Inputs of so many rows (0: without that axis): zeros, or with a seed numbers drawn at random where they are
        no indexes."""
        numpy = self._numpy
        random = numpy.random.default_rng(seed)
        feeds = {}
        for spec in self._signature["inputs"]:
            if spec.get("optional"):
                continue
            shape = [rows] * bool(rows) + [1 if length < 0 else length for length in spec["shape"]]
            if spec["datatype"] == "BYTES":
                feeds[spec["name"]] = numpy.full(shape, "", dtype=object)
                continue
            dtype = DATATYPES[spec["datatype"]][1]
            drawn = seed and spec["datatype"].startswith("FP")
            feeds[spec["name"]] = (random.standard_normal(shape) if drawn else numpy.zeros(shape)).astype(
                dtype
            )
        return feeds

    def _batches(self) -> bool:
        """Whether three records (or as many as it takes) come out as so many: shapes alone do not prove it.

        A graph that cannot be run on zeros (an index out of range, say) keeps what its shapes say;
        every answer's length is checked in ``predict`` all the same.
        """
        rows = max(self.least, min(3, self._signature.get("max_batch") or 3))
        try:
            if self.careful:
                return self._alike(rows)
            return all(self._rows(output) == rows for output in self.run(self.made_up(rows), {}).values())
        except Exception:
            return True

    def _take_apart(self) -> None:
        """Say what a graph takes whose rows cannot be put together: one, or none, where its answers have no rows."""
        if all(self._rows(output) == 1 for output in self.run(self.made_up(1), {}).values()):
            self._signature["max_batch"] = 1
            return
        self._signature["batched"] = False
        for place in ("inputs", "outputs"):
            self._signature[place] = [
                dict(spec, shape=[-1, *spec["shape"]]) for spec in self._signature[place]
            ]

    def _alike(self, rows: int) -> bool:
        """Whether the last of several records comes out as it does among copies of itself."""
        numpy = self._numpy
        feeds = self.made_up(rows, seed=1)
        copies = {name: numpy.repeat(array[-1:], rows, axis=0) for name, array in feeds.items()}
        together, alone = self.run(feeds, {}), self.run(copies, {})
        for name, output in together.items():
            if self._rows(output) != rows:
                return False
            last, wanted = output[-1], alone[name][-1]
            if last.shape != wanted.shape:
                return False
            if last.dtype.kind == "f" and not numpy.allclose(
                last, wanted, rtol=1e-3, atol=1e-4, equal_nan=True
            ):
                return False
        return True

    @staticmethod
    def _rows(output: Any) -> int:
        return output.shape[0] if output.ndim else -1

    def signature(self) -> Signature:
        return self._signature

    def cost(self) -> Cost:
        """Rows; or the length (with several free axes: the elements) of the first input that varies.

        Items of different inner shapes cannot be one tensor and run one after the other: declared as
        padded, which has the node prefer equal lengths. Records that are never put together add up.
        """
        for spec in self._signature["inputs"]:
            free = list(spec["shape"]).count(-1)
            if free and not spec.get("optional"):
                return {
                    "cost": "length" if free == 1 and spec["datatype"] != "BYTES" else "elements",
                    "of": spec["name"],
                    "shape": "padded" if self._together else "ragged",
                }
        return {"cost": "rows", "shape": "rows"}

    @property
    def _together(self) -> bool:
        return bool(self._signature["batched"]) and self._signature.get("max_batch") != 1

    def example(self) -> Optional[Dict[str, Any]]:
        return None

    def validate(self, item: Item) -> None:
        """The node has checked names, types and shapes; most graphs have no other rule."""

    def predict(self, items: Sequence[Item]) -> Sequence[Union[Outputs, ItemError]]:
        try:
            return self._predict(items)
        finally:
            self.done()

    def _predict(self, items: Sequence[Item]) -> Sequence[Union[Outputs, ItemError]]:
        if len(items) == 1 or not self._together:
            return [self._run_one(item) for item in items]
        groups: Dict[Tuple[Any, ...], List[int]] = {}
        for index, item in enumerate(items):
            shapes = tuple([(name, tensor.shape[1:]) for name, tensor in item.inputs.items()])
            key = (shapes, tuple(sorted(item.parameters.items())) if item.parameters else ())
            groups.setdefault(key, []).append(index)
        if len(groups) == 1:
            return self._run_together(items)
        results: List[Any] = [None] * len(items)
        for indexes in groups.values():
            for index, outputs in zip(indexes, self._run_together([items[index] for index in indexes])):
                results[index] = outputs
        return results

    def _run_together(self, items: Sequence[Item]) -> List[Outputs]:
        """Items of one inner shape, one run; raises when the graph does not keep the rows apart."""
        if len(items) == 1:
            return [self._run_one(items[0])]
        first = next(iter(items[0].inputs))
        rows = [item.inputs[first].shape[0] for item in items]
        total = sum(rows)
        feeds = {}
        for name, tensor in items[0].inputs.items():
            # Rows lie one after the other in raw bytes too: joining those is one copy and one array.
            together = b"".join([item.inputs[name].data for item in items])
            feeds[name] = self.array(Tensor(tensor.datatype, (total, *tensor.shape[1:]), together))
        results: List[Outputs] = [{} for _ in items]
        for name, output in self._in_bounds(feeds, total, items[0].parameters).items():
            if self._rows(output) != total:
                raise ItemError("output %r does not have one row per record" % name)
            split_rows(name, output, rows, results)
        return results

    def _run_one(self, item: Item) -> Any:
        feeds = {name: self.array(tensor) for name, tensor in item.inputs.items()}
        if self._together:
            outputs = self._in_bounds(feeds, next(iter(item.inputs.values())).shape[0], item.parameters)
        else:
            outputs = self.run(feeds, item.parameters)
        return {name: from_numpy(output) for name, output in outputs.items()}

    def _in_bounds(self, feeds: Arrays, rows: int, parameters: Mapping[str, Any]) -> Arrays:
        """Run with as many rows at once as the model takes."""
        most = self._signature.get("max_batch") or rows
        if self.least <= rows <= most:
            return self.run(feeds, parameters)
        numpy = self._numpy
        parts: Dict[str, List[Any]] = {}
        for begin in range(0, rows, most):
            piece = {name: array[begin : begin + most] for name, array in feeds.items()}
            count = min(most, rows - begin)
            if count < self.least:
                lacking = self.least - count
                piece = {
                    name: numpy.concatenate([array, numpy.repeat(array[-1:], lacking, axis=0)])
                    for name, array in piece.items()
                }
            for name, output in self.run(piece, parameters).items():
                if self._rows(output) != max(count, self.least):
                    raise ItemError("output %r does not have one row per record" % name)
                parts.setdefault(name, []).append(output[:count])
        return {name: numpy.concatenate(outputs) for name, outputs in parts.items()}

    def resources(self) -> Resources:
        return {"memory_bytes": self._size * 2, "device": "cpu"}

    def container(self) -> Container:
        return {"image": "python", "system_packages": []}
