"""One batch computed: validated, predicted together, taken apart when that fails, out of memory told."""

import gc
import sys
import traceback
from typing import Any, List, Sequence, Union

from . import confine
from .adapter import Adapter, Item, ItemError, Outputs
from .frames import Work

_SIGNS = (
    "out of memory",  # torch.cuda.OutOfMemoryError, CUDA, cuDNN
    "can't allocate memory",  # torch's allocator for the CPU
    "failed to allocate memory",  # ONNX Runtime's arena
    "bad_alloc",
    "bad allocation",
    "alloc_failed",  # CUBLAS_STATUS_ALLOC_FAILED
)


class OutOfMemory(Exception):
    """A batch of several items needs more memory than there is; a smaller one may do."""


def run_batch(
    adapter: Adapter, items: Sequence[Item], *, halve: bool = True, checked: bool = False
) -> List[Union[Outputs, ItemError]]:
    """Results in the order of ``items``; one bad item costs its batch-mates nothing but time.

    Raises OutOfMemory for more than one item, unless it is to ``halve`` them itself.
    """
    results: List[Union[Outputs, ItemError, None]] = [None] * len(items)
    valid: List[int] = []
    for index, item in enumerate(items):
        try:
            if isinstance(item.prepared, ItemError):
                raise item.prepared
            if not checked:
                adapter.validate(item)
            valid.append(index)
        except Exception as error:
            results[index] = as_item_error(error)
    _predict(adapter, items, valid, results, halve)
    return [result if result is not None else ItemError("no result") for result in results]


def prepare_batch(adapter: Adapter, work: Work) -> None:
    """Validate and prepare the items of ``work`` while another batch computes."""
    valid: List[Item] = []
    for item in work.items:
        try:
            adapter.validate(item)
            valid.append(item)
        except Exception as error:
            item.prepared = as_item_error(error)
    work.checked = True
    prepare = getattr(adapter, "prepare", None)
    if prepare is None or not valid:
        return
    try:
        prepared = prepare(valid)
        if len(prepared) != len(valid):
            raise ValueError("%d values were prepared for %d items" % (len(prepared), len(valid)))
    except Exception:
        # The prediction comes to the same point without it, and finds out whose fault it is.
        traceback.print_exc()
        return
    for item, value in zip(valid, prepared):
        item.prepared = value


def _predict(
    adapter: Adapter, items: Sequence[Item], indexes: List[int], results: List[Any], halve: bool
) -> None:
    """Predict together; when that raises, each half apart, down to the item at fault."""
    if not indexes:
        return
    try:
        outputs = adapter.predict([items[index] for index in indexes])
        if len(outputs) != len(indexes):
            raise ItemError("the model answered %d results for %d items" % (len(outputs), len(indexes)))
    except Exception as error:
        short = is_out_of_memory(error)
        if short:
            free_memory(error)
            if len(indexes) > 1 and not halve:
                raise OutOfMemory(str(error)) from None
        if len(indexes) == 1:
            if not isinstance(error, ItemError):
                traceback.print_exc()
            results[indexes[0]] = too_large() if short else as_item_error(error)
            return
    else:
        for index, output in zip(indexes, outputs):
            results[index] = output
        return
    # Not in the handler: what the exception holds on to is let go first.
    middle = len(indexes) // 2
    _predict(adapter, items, indexes[:middle], results, halve)
    _predict(adapter, items, indexes[middle:], results, halve)


def as_item_error(error: BaseException) -> ItemError:
    """The error that the caller sees: the adapter's own, or the model's exception in one line."""
    if isinstance(error, ItemError):
        return error
    if is_out_of_memory(error):
        free_memory(error)
        return too_large()
    said = str(error)[:500] or "no message"
    return ItemError("The model raised %s: %s%s" % (type(error).__name__, said, confine.hint(error)))


def too_large() -> ItemError:
    """What the caller of an item is told that needs too much memory even alone."""
    return ItemError(
        "This call alone needs more memory than the model's process has; send a smaller one, or deploy the "
        "model with more memory.",
        code="too_large",
    )


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory was wanting: Python's, PyTorch's, CUDA's or ONNX Runtime's way of saying it.

    The frameworks share no class: PyTorch raises a RuntimeError of its own (``torch.OutOfMemoryError``), ONNX
    Runtime one per status, and both say it in their message.
    """
    if isinstance(error, MemoryError):
        return True
    if isinstance(error, ItemError):
        return False
    if any(each.__name__ == "OutOfMemoryError" for each in type(error).__mro__):
        return True
    message = str(error).lower()
    return any(sign in message for sign in _SIGNS)


def device_bytes() -> int:
    """What PyTorch held at most of its CUDA devices' memory so far, by its own allocator: without the driver's
    context, and without what other libraries take. 0 when it was not used there."""
    torch = sys.modules.get("torch")
    if torch is None or not hasattr(torch, "cuda") or not torch.cuda.is_initialized():
        return 0
    return sum(torch.cuda.max_memory_reserved(each) for each in range(torch.cuda.device_count()))


def free_memory(error: BaseException) -> None:
    """Let go of what the failed computation held, on the GPU too."""
    traceback.clear_frames(error.__traceback__)
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
