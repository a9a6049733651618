"""An answer against the signature: a model that answers something else than it says is told so."""

from collections.abc import Mapping

from modelyard.core.datatypes import DATATYPES
from modelyard.core.errors import Internal
from modelyard.serve.call import Answer, Result
from modelyard.serve.codec import raw_size_fits, shape_fits

Expected = Mapping[str, tuple[str, tuple[int, ...]]]  # output -> data type, shape with the batch axis


def checked_answer(expected: Expected, answer: Answer) -> Result:
    """``answer``, or Internal when it does not fit what is ``expected`` (nothing: every output fits)."""
    for tensor in answer:
        spec = expected.get(tensor.name)
        if spec is None and expected:
            return Internal(
                f"The model answered an output {tensor.name!r} that its signature does not have."
            )
        if spec is not None and (tensor.datatype != spec[0] or not shape_fits(tensor.shape, spec[1])):
            return Internal(
                f"The model answered output {tensor.name!r} as {tensor.datatype} {list(tensor.shape)}; "
                f"its signature says {spec[0]} {list(spec[1])}."
            )
        if tensor.datatype not in DATATYPES or not raw_size_fits(
            tensor.datatype, tensor.shape, tensor.data
        ):
            return Internal(
                f"The model answered output {tensor.name!r} with bytes that do not fit its shape."
            )
    return answer
