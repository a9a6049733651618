"""A call against the signature: names, types, shapes, parameters. What passes may be queued."""

from modelyard.core.errors import InvalidInput, TooLarge
from modelyard.core.signature import ParameterSpec
from modelyard.serve.call import Call, Options, RawTensor
from modelyard.serve.codec import shape_fits
from modelyard.serve.served import Served

MAX_PARAMETERS = 64 * 1024  # characters of all text parameters of one call; they travel in a header

_PARAMETER_TYPES: dict[str, tuple[type, ...]] = {
    "bool": (bool,),
    "int": (int,),
    "float": (int, float),
    "string": (str,),
}


def checked_call(
    served: Served, inputs: list[RawTensor], parameters: dict[str, object], options: Options
) -> Call:
    """Names, types and shapes against the signature: what is a Call may be queued.

    Raises InvalidInput naming the field.
    """
    signature = served.signature
    specs = {spec.name: spec for spec in signature.inputs}
    rows: int | None = None
    for index, tensor in enumerate(inputs):
        spec = specs.pop(tensor.name, None)
        if spec is None:
            known = ", ".join(repr(spec.name) for spec in signature.inputs)
            again = any(tensor.name == spec.name for spec in signature.inputs)
            raise InvalidInput(
                f"The input {tensor.name!r} is given twice." if again
                else f"{served.endpoint!r} has no input {tensor.name!r}; it takes {known}.",
                field=f"inputs[{index}].name",
            )  # fmt: skip
        if tensor.datatype != spec.datatype:
            raise InvalidInput(
                f"{tensor.name!r} is {spec.datatype}, not {tensor.datatype}.",
                field=f"inputs[{index}].datatype",
            )
        shape = tensor.shape[1:] if signature.batched else tensor.shape
        if (signature.batched and not tensor.shape) or not shape_fits(shape, spec.shape):
            raise InvalidInput(
                f"{tensor.name!r} has shape {list(tensor.shape)}; the model takes "
                f"{list(signature.batch_shape(spec))} (-1: any length).",
                field=f"inputs[{index}].shape",
            )
        if signature.batched:
            if rows is not None and tensor.shape[0] != rows:
                raise InvalidInput(
                    f"{tensor.name!r} has {tensor.shape[0]} rows, the inputs before it {rows}; all have the same.",
                    field=f"inputs[{index}].shape",
                )
            rows = tensor.shape[0]
            if rows > 1 and 0 in tensor.shape:
                raise InvalidInput(
                    f"{tensor.name!r} has {rows} rows of nothing.", field=f"inputs[{index}].shape"
                )
            if rows < 1 or (signature.max_batch is not None and rows > signature.max_batch):
                raise InvalidInput(
                    f"{rows} rows in one call; this model takes 1"
                    + (f" to {signature.max_batch}." if signature.max_batch else " or more."),
                    field=f"inputs[{index}].shape",
                )
    for spec in specs.values():
        if not spec.optional:
            raise InvalidInput(f"The input {spec.name!r} is missing.", field="inputs")
    if parameters:
        if sum(len(value) for value in parameters.values() if isinstance(value, str)) > MAX_PARAMETERS:
            raise TooLarge(
                f"The parameters are over {MAX_PARAMETERS} characters; what is large is an input.",
                field="parameters",
            )
        check_parameters(signature.parameters, parameters, served.endpoint)
    limit = served.serving.timeout if options.progress is None else served.serving.job_timeout
    timeout = limit if options.timeout is None else min(options.timeout, limit)
    return Call(tuple(inputs), parameters, rows or 1, timeout, options)


def check_parameters(
    specs: tuple[ParameterSpec, ...], parameters: dict[str, object], endpoint: str
) -> None:
    """Raise InvalidInput for a parameter that is unknown or of the wrong type."""
    known = {spec.name: spec for spec in specs}
    for name, value in parameters.items():
        spec = known.get(name)
        if spec is None:
            takes = ", ".join(sorted(known)) or "none"
            raise InvalidInput(
                f"{endpoint!r} has no parameter {name!r}; it takes: {takes}.", field=f"parameters.{name}"
            )
        if type(value) not in _PARAMETER_TYPES[spec.type]:
            raise InvalidInput(
                f"The parameter {name!r} is of type {spec.type}.", field=f"parameters.{name}"
            )
        if isinstance(value, int) and not -(2**63) <= value < 2**63:
            raise InvalidInput(
                f"The parameter {name!r} is a number of 64 bits at most.", field=f"parameters.{name}"
            )
