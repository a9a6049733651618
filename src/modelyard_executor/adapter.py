"""What an adapter is: the code that loads one family of models, validates and predicts.

An adapter is a class named ``Adapter`` in ``modelyard_executor/adapters/<name>.py``. Its module imports
the standard library only; the framework is imported inside ``load``. Signature, Cost, Resources and
Container are plain dictionaries of the shapes below, because they travel as JSON:

    Signature  {"inputs": [TensorSpec...], "outputs": [TensorSpec...], "parameters": [ParameterSpec...],
                "batched": bool, "max_batch": int or None}
    TensorSpec {"name", "datatype", "shape" (of one record; -1: any), "kind", "optional", "description"}
    ParameterSpec {"name", "type" (bool, int, float, string), "default", "description"}
    Cost       {"cost": "rows", "shape": "rows"}, or {"cost": "length" or "elements", "of": the input that
                is measured, "shape": "padded", "ragged" or "quadratic"}: what an item costs, computed by
                the node, and how the costs of a batch add up
    Resources  {"memory_bytes": int, "device": "cpu"}: what loading needs, told before loading; and
                "device_bytes": int, where the adapter knows what it took of the device at most to be loaded
                (without it PyTorch is asked); "later_bytes": int and "later_after": seconds, of the machine's
                memory that it will take beside what loading took, once it has computed for so long
    Container  {"image": str, "system_packages": [...]}: what an image for it starts from
"""

from pathlib import Path
from typing import Any, Callable, Dict, Mapping, Optional, Protocol, Sequence, Union

from .tensor import Tensor

Signature = Dict[str, Any]
Cost = Dict[str, Any]
Resources = Dict[str, Any]
Container = Dict[str, Any]


class Item:
    """One call's inputs (with the batch axis where the signature has one) and its own parameters.

    ``prepared`` is what the adapter's ``prepare`` made of it, or None.
    """

    __slots__ = ("inputs", "parameters", "prepared")

    def __init__(self, inputs: Dict[str, Tensor], parameters: Optional[Dict[str, Any]] = None) -> None:
        self.inputs = inputs
        self.parameters = parameters or {}
        self.prepared: Any = None


class ItemError(Exception):
    """One item failed; its batch-mates did not. ``code`` is an error code of the design."""

    def __init__(self, message: str, *, code: str = "internal", field: Optional[str] = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.field = field


class InvalidInput(ItemError):
    """The caller's fault: ``field`` names the input (``inputs.text``), ``why`` is a sentence."""

    def __init__(self, field: str, why: str) -> None:
        super().__init__(why, code="invalid_input", field=field)


_reporter: "Optional[Callable[[Optional[float], str], None]]" = None  # the loop's


def progress(fraction: Optional[float], message: str = "") -> None:
    """Tell how far the current prediction is: a number from 0 to 1, or None, and a short text.

    Whoever waits for its job sees it. Costs next to nothing, however often it is called. Raises ItemError
    (code *cancelled*) once nobody waits any more: let it through, and the computation ends there.
    """
    if _reporter is not None:
        _reporter(fraction, message)


class LoadError(Exception):
    """The model cannot be loaded, for a reason that a sentence explains better than a traceback."""


Outputs = Dict[str, Tensor]


class Adapter(Protocol):
    """The interface; see the module's docstring for the dictionaries. An attribute ``tolerance`` says how far an
    answer may be from the same one computed beside others, relative to the largest number of its output (0.0001
    without it); None: items are never computed together. Two more methods are optional:

    ``prepare(items) -> sequence of one value or ItemError per item``
        What needs no device (tokenization), done while the batch before computes, on another thread than
        ``predict``. ``predict`` finds each value in ``item.prepared``; it is None where nothing ran ahead.

    ``stream(item) -> iterator of Outputs``
        The answer to one item in pieces, each with every output that is not optional. It is closed between two
        pieces when nobody waits for them any more. An adapter whose models stream only sometimes says
        which by its attribute ``streams``.
    """

    def load(self, files: Path, device: str, options: Mapping[str, Any]) -> None:
        """Load the model in the folder ``files``. Raises LoadError, or whatever the framework does.

        ``options`` are those of the version's analysis plus ``threads`` (int) and ``trusted`` (bool).
        """
        ...

    def signature(self) -> Signature: ...

    def cost(self) -> Cost: ...

    def example(self) -> Optional[Dict[str, Any]]:
        """A record (inputs by name, JSON values, no batch axis) that the model can answer, or None."""
        ...

    def validate(self, item: Item) -> None:
        """Raise InvalidInput for what the node's check of names, types and shapes cannot see."""
        ...

    def predict(self, items: Sequence[Item]) -> Sequence[Union[Outputs, ItemError]]:
        """One result per item, in order: outputs by name, or the error of that item alone.

        An exception is taken as "this batch cannot be computed together": its halves are then tried
        apart, and theirs, until the items that raise stand alone and get the error.
        """
        ...

    def resources(self) -> Resources: ...

    def container(self) -> Container: ...
