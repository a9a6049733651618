"""Where every protocol meets: which pool serves this endpoint, and one call through it."""

import asyncio
import hashlib
import hmac
import time
from collections import deque
from collections.abc import Sequence

from modelyard.core.errors import (
    Cancelled,
    Deadline,
    InvalidInput,
    ModelyardError,
    NotFound,
    Overloaded,
    TooLarge,
    Unauthenticated,
    Unavailable,
)
from modelyard.core.routes import RouteTable
from modelyard.core.signature import ParameterSpec, Signature
from modelyard.serve.call import Answer, Call, RawTensor, Result
from modelyard.serve.codec import shape_fits
from modelyard.serve.metrics import NodeCollector
from modelyard.serve.pool import Pool, Ticket

MAX_PARAMETERS = 64 * 1024  # characters of all text parameters of one call; they travel in a header
WINDOW = 256  # records of one batch that are queued at a time

_PARAMETER_TYPES: dict[str, tuple[type, ...]] = {
    "bool": (bool,),
    "int": (int,),
    "float": (int, float),
    "string": (str,),
}


class Dataplane:
    """Resolves endpoints to pools and carries calls. ``table`` and ``pools`` are the node's."""

    def __init__(self, metrics: NodeCollector) -> None:
        self.metrics = metrics
        self.table = RouteTable()
        self.pools: dict[str, Pool] = {}
        self._routes: dict[str, Pool] = {}

    def follow(self, table: RouteTable, pools: dict[str, Pool]) -> None:
        """Serve by ``table`` from now on; calls already queued stay where they are."""
        self.table = table
        self.pools = pools
        self._routes = {route.endpoint: pools[route.deployment] for route in table.routes}

    def check_key(self, key: str | None) -> None:
        """Raise Unauthenticated unless ``key`` is known, when keys are asked for at all."""
        if self.table.keys is None:
            return
        if key is None:
            raise Unauthenticated("Send an API key: 'Authorization: Bearer <key>'.")
        digest = hashlib.sha256(key.encode()).hexdigest()
        if not any(hmac.compare_digest(digest, known) for known in self.table.keys):
            raise Unauthenticated("This API key is not known here.")

    def endpoints(self) -> list[str]:
        """The names that calls can be made to."""
        return sorted(self._routes)

    def default(self) -> str:
        """The endpoint behind ``/predict``. Raises NotFound when nothing is deployed."""
        if self.table.default is None:
            raise NotFound("Nothing is deployed here yet; try: modelyard deploy PATH")
        return self.table.default

    def resolve(self, endpoint: str, version: str | None = None) -> Pool:
        """The pool that serves ``endpoint`` (and that version of it).

        Raises NotFound for an unknown one, Unavailable while its first deployment starts.
        """
        pool = self._routes.get(endpoint)
        if pool is None:
            for other in self.pools.values():
                if other.spec.endpoint == endpoint:
                    raise Unavailable(
                        f"{endpoint!r} is starting; its first replica is not ready.", retry_after=1.0
                    )
            raise NotFound(
                f"There is no endpoint {endpoint!r} here; see: modelyard endpoints", field="model"
            )
        if version is not None and version != str(pool.spec.version):
            raise NotFound(
                f"{endpoint!r} serves version {pool.spec.version}, not {version!r}.", field="version"
            )
        return pool

    def signature(self, pool: Pool) -> Signature:
        """The signature that calls are checked against. Raises Unavailable before it is known."""
        if pool.signature is None:
            raise Unavailable(
                f"{pool.spec.endpoint!r} is starting; its signature is not known yet.", retry_after=1.0
            )
        return pool.signature

    def counting_refusals(self, pool: Pool) -> "_Refusals":
        """A context in which an error is a call of ``pool`` that was refused before it was queued."""
        return _Refusals(pool)

    async def predict(self, pool: Pool, call: Call) -> Answer:
        """One call, answered; raises its error."""
        started = time.perf_counter()
        code = "internal"
        ticket: Ticket | None = None
        try:
            ticket = pool.submit(call)
            result = await ticket.future
            if isinstance(result, ModelyardError):
                raise result
            pool.check_answer(result)
            code = "ok"
            return result
        except ModelyardError as error:
            code = error.code
            raise
        except asyncio.CancelledError:
            code = Cancelled.code
            if ticket is not None:
                pool.cancel(ticket)
            raise
        finally:
            pool.metrics.called(pool.spec.version, code, time.perf_counter() - started)

    async def predict_all(self, pool: Pool, calls: Sequence[Call | ModelyardError]) -> list[Result]:
        """Several calls, each with its own result, in order. Raises only when the caller leaves.

        What is an error already stays one. They are queued in windows, so that a batch of any length
        neither fills the queue nor is refused by it; each has what is left of its time.
        """
        started = time.perf_counter()
        version = pool.spec.version
        window = max(1, min(WINDOW, pool.spec.serving.max_queue // 2))
        queued: deque[Ticket | ModelyardError] = deque()
        results: list[Result] = []

        async def take_oldest() -> None:
            result = await _result_of(queued[0])
            queued.popleft()
            if not isinstance(result, ModelyardError):
                try:
                    pool.check_answer(result)
                except ModelyardError as error:
                    result = error
            code = result.code if isinstance(result, ModelyardError) else "ok"
            pool.metrics.called(version, code, time.perf_counter() - started)
            results.append(result)

        try:
            for call in calls:
                while len(queued) >= window:
                    await take_oldest()
                while True:
                    try:
                        queued.append(
                            call if isinstance(call, ModelyardError) else _submit(pool, call, started)
                        )
                        break
                    except Overloaded as error:
                        if not queued:
                            queued.append(error)
                            break
                        await take_oldest()
                    except ModelyardError as error:
                        queued.append(error)
                        break
            while queued:
                await take_oldest()
        except asyncio.CancelledError:
            for ticket in queued:
                if isinstance(ticket, Ticket):
                    pool.cancel(ticket)
                    pool.metrics.called(version, Cancelled.code, time.perf_counter() - started)
            raise
        return results

    def check(
        self, pool: Pool, inputs: list[RawTensor], parameters: dict[str, object], timeout: float | None
    ) -> Call:
        """Names, types and shapes against the signature: what is a Call may be queued.

        Raises InvalidInput naming the field.
        """
        signature = self.signature(pool)
        specs = {spec.name: spec for spec in signature.inputs}
        rows: int | None = None
        for index, tensor in enumerate(inputs):
            spec = specs.pop(tensor.name, None)
            if spec is None:
                known = ", ".join(repr(spec.name) for spec in signature.inputs)
                again = any(tensor.name == spec.name for spec in signature.inputs)
                raise InvalidInput(
                    f"The input {tensor.name!r} is given twice." if again
                    else f"{pool.spec.endpoint!r} has no input {tensor.name!r}; it takes {known}.",
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
            check_parameters(signature.parameters, parameters, pool.spec.endpoint)
        limit = pool.spec.serving.timeout
        return Call(tuple(inputs), parameters, rows or 1, limit if timeout is None else min(timeout, limit))


class _Refusals:
    __slots__ = ("_pool", "_started")

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._started = time.perf_counter()

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, ModelyardError):
            elapsed = time.perf_counter() - self._started
            self._pool.metrics.called(self._pool.spec.version, error.code, elapsed)


async def _result_of(ticket: Ticket | ModelyardError) -> Result:
    return ticket if isinstance(ticket, ModelyardError) else await ticket.future


def _submit(pool: Pool, call: Call, started: float) -> Ticket:
    """Queue one call of a batch that began at ``started``. Raises Deadline when its time is over."""
    left = call.timeout - (time.perf_counter() - started)
    if left <= 0:
        raise Deadline(f"The call's {call.timeout:g} s were over before it could be queued.")
    return pool.submit(call._replace(timeout=left))


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
