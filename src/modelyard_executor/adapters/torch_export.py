"""Programs of ``torch.export``."""

import logging
from pathlib import Path
from typing import Any, Dict, List, Mapping

from ..adapter import Container, InvalidInput, Item, LoadError
from .graph import Arrays, Graph
from .torch_arrays import prepare, to_numpy, to_torch


class Adapter(Graph):
    """One program, called with its arguments in the structure that it was exported with."""

    def open(self, files: Path, device: str, options: Mapping[str, Any]) -> None:
        """``options``: ``file``; ``arguments`` (flat: the names of inputs, constants each alone in a list), ``results``
        (names, None for what is not sent), ``bfloat16`` (inputs that are such), ``ranges`` (bounds of axes by input),
        ``least`` (rows)."""
        self._torch = prepare(int(options["threads"]))
        path = files / str(options["file"])
        self._size = path.stat().st_size
        self._device = device
        self.least = int(options["least"])
        self._arguments: List[Any] = options["arguments"]
        self._results: List[Any] = options["results"]
        self._bfloat16 = frozenset(options["bfloat16"])
        self._ranges: Dict[str, Any] = options["ranges"]
        logging.getLogger("torch.export").setLevel(logging.ERROR)
        try:
            program = self._torch.export.load(str(path))
            if device != "cpu":
                from torch.export.passes import move_to_device_pass

                program = move_to_device_pass(program, device)
            self._module = program.module()
            self._structure = program.call_spec.in_spec
        except Exception as error:
            # What a program of another release raises has no class in common.
            raise LoadError(
                "PyTorch %s cannot load %s: %s" % (self._torch.__version__, path.name, error)
            ) from error

    def validate(self, item: Item) -> None:
        """Lengths between the bounds that the program was exported with."""
        batched = bool(self._signature["batched"])
        for name, bounds in self._ranges.items():
            for axis, least, most in bounds:
                length = item.inputs[name].shape[axis + batched]
                if length < least or 0 <= most < length:
                    raise InvalidInput(
                        "inputs." + name,
                        "Axis %d of %r is %d long; the program takes %s."
                        % (
                            axis,
                            name,
                            length,
                            "%d to %d" % (least, most) if most >= 0 else "%d or more" % least,
                        ),
                    )

    def run(self, feeds: Arrays, parameters: Mapping[str, Any]) -> Arrays:
        from torch.utils import _pytree as pytree

        flat = [
            argument[0]
            if isinstance(argument, list)
            else to_torch(feeds[argument], self._device, bfloat16=argument in self._bfloat16)
            for argument in self._arguments
        ]
        positional, named = pytree.tree_unflatten(flat, self._structure)
        try:
            with self._torch.no_grad():
                answer = self._module(*positional, **named)
        except AssertionError as error:
            # Lengths of several inputs that have to fit together; the program's own check says which.
            raise InvalidInput(
                "inputs", "The inputs do not fit the program: %s." % str(error).rstrip(".")
            ) from error
        except IndexError as error:
            raise InvalidInput("inputs", "The program cannot take this: %s." % error) from error
        leaves = pytree.tree_leaves(answer, is_leaf=lambda value: value is None)
        return {name: to_numpy(leaf) for name, leaf in zip(self._results, leaves) if name is not None}

    def container(self) -> Container:
        return {"image": "torch", "system_packages": []}
