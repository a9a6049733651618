"""Spans of OpenTelemetry, from the request to the batch and to remotes. Imported only when tracing is on.

    POST /models/fraud/predict          request: protocol, status, code, endpoint, version
      ├── queue                         from the call's arrival to its batch's start
      ├── batch                         from there to its answer, links to the calls in it; under the first
      │     └── compute                 as long as the executor says, up to its answer: the rest is the way
      └── call <remote>                 the context that the remote gets is this one's

What decides is the parent (``sampled`` of traceparent), without one the ratio. Spans are sent by a thread of
their own, in batches, from a bounded queue: a collector that is dead or slow loses spans and delays nobody.
"""

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from functools import partial
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from modelyard.core.errors import ERROR_KINDS, Place
from modelyard.core.signature import Signature
from modelyard.core.version import VERSION
from modelyard.serve.call import Answer, Call, Result
from modelyard.serve.http import Request

if TYPE_CHECKING:
    from modelyard.serve.served import Pending, Served

SEND_TIMEOUT = 5.0  # seconds that the collector may take
STOP_LIMIT = 3.0  # seconds that the end of the node may wait for the last spans


class _Queued(Protocol):
    """A Pending that tells when it came and when its batch began (monotonic seconds)."""

    future: "asyncio.Future[Result]"
    arrived: float
    sent: float


class _Ending:
    """A batch whose calls get their answers in this turn of the loop: their spans, and when (ns) and for how
    long (seconds) it was computed. Two, where two replicas began and ended together."""

    def __init__(self, first: Span) -> None:
        self.calls = [first]
        self.computed: list[tuple[int, float]] = []


class Tracer:
    """Begins the spans of requests. ``endpoint`` is the collector's base URL, ``ratio`` from 0 to 1."""

    def __init__(self, endpoint: str, ratio: float) -> None:
        url = endpoint if urlsplit(endpoint).path.strip("/") else endpoint.rstrip("/") + "/v1/traces"
        self._provider = TracerProvider(
            sampler=ParentBased(TraceIdRatioBased(ratio)),
            resource=Resource.create({"service.name": "modelyard-node", "service.version": VERSION}),
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(
            BatchSpanProcessor(
                OTLPSpanExporter(endpoint=url, timeout=SEND_TIMEOUT), schedule_delay_millis=1000
            )
        )
        self.spans = self._provider.get_tracer("modelyard", VERSION)
        self._propagator = TraceContextTextMapPropagator()
        self.batches: dict[tuple[int, float], _Ending] = {}

    def begin(self, request: Request, protocol: str) -> "SpanTrace":
        """The span of a request, under the one that its headers name."""
        carrier = {
            name: value.decode("latin-1")
            for name in ("traceparent", "tracestate")
            if (value := request.headers.get(name.encode())) is not None
        }
        span = self.spans.start_span(
            f"{request.method} {request.path[:200]}",
            context=self._propagator.extract(carrier) if carrier else None,
            kind=SpanKind.SERVER,
            attributes={
                "http.request.method": request.method,
                "url.path": request.path[:200],
                "modelyard.protocol": protocol,
                "modelyard.request_id": request.id,
            },
        )
        return SpanTrace(self, span)

    @staticmethod
    def queued(backend: int, call: Call, pending: _Queued) -> None:
        """A call waits for a replica now: when it has its result, its wait and its batch are told."""
        trace = call.options.trace
        if isinstance(trace, SpanTrace) and trace.span.is_recording():
            pending.future.add_done_callback(lambda _: trace.queued(backend, pending))

    def computed(self, backend: int, sent: float, seconds: float) -> None:
        """The batch that was ``sent`` then has its answers: the executor computed it for so long."""
        # The futures of its calls are set: who is traced among them is known after their callbacks.
        asyncio.get_running_loop().call_soon(self._computed, (backend, sent), time.time_ns(), seconds)

    def _computed(self, key: tuple[int, float], ended: int, seconds: float) -> None:
        if (batch := self.batches.get(key)) is not None:
            batch.computed.append((ended, seconds))

    def batch_ended(self, key: tuple[int, float], began: int, ended: int) -> None:
        """Every call of a batch has its answer: the batch's span, from ``began`` to ``ended`` (ns)."""
        ending = self.batches.pop(key)
        calls = ending.calls
        batch = self.spans.start_span(
            "batch",
            context=set_span_in_context(calls[0]),
            start_time=began,
            links=[Link(call.get_span_context()) for call in calls],
            attributes={"modelyard.traced_calls": len(calls)},
        )
        for answered, seconds in ending.computed:
            compute = self.spans.start_span(
                "compute", context=set_span_in_context(batch), start_time=answered - int(seconds * 1e9)
            )
            compute.end(answered)
        batch.end(ended)

    async def close(self) -> None:
        """Send what is left, for STOP_LIMIT seconds at most."""
        loop = asyncio.get_running_loop()
        sent = asyncio.Event()

        def send() -> None:
            self._provider.shutdown()
            if not loop.is_closed():
                loop.call_soon_threadsafe(sent.set)

        threading.Thread(target=send, name="last spans", daemon=True).start()
        try:
            async with asyncio.timeout(STOP_LIMIT):
                await sent.wait()
        except TimeoutError:
            return


class SpanTrace:
    """A span as the Trace of a call."""

    __slots__ = ("_tracer", "span")

    def __init__(self, tracer: Tracer, span: Span) -> None:
        self._tracer = tracer
        self.span = span

    def lines(self) -> bytes:
        """The header lines that name this span as the parent."""
        context = self.span.get_span_context()
        lines = (
            f"traceparent: 00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}\r\n"
        )
        state = context.trace_state.to_header()
        return (lines + (f"tracestate: {state}\r\n" if state else "")).encode("latin-1", "replace")

    def leave(self, name: str) -> "SpanTrace":
        """A span for a call to a remote."""
        span = self._tracer.spans.start_span(
            f"call {name}", context=set_span_in_context(self.span), kind=SpanKind.CLIENT
        )
        return SpanTrace(self._tracer, span)

    def end(self, code: str) -> None:
        """The span ends, with an error code or ``ok``."""
        self.span.set_attribute("modelyard.code", code)
        if code != "ok" and ERROR_KINDS[code].http >= 500:
            self.span.set_status(Status(StatusCode.ERROR, code))
        self.span.end()

    def answered(self, status: int, code: str, place: Place | None = None) -> None:
        """The request was answered so."""
        self.span.set_attribute("http.response.status_code", status)
        if place is not None:
            self.served_by(place.endpoint, place.version)
        self.end(code)

    def served_by(self, endpoint: str, version: int) -> None:
        """Whose call it is."""
        self.span.set_attributes({"modelyard.endpoint": endpoint, "modelyard.version": version})

    def queued(self, backend: int, pending: _Queued) -> None:
        """The call has its result: its wait, and its part in a batch, as spans."""
        if not pending.sent:
            return
        now, monotonic = time.time_ns(), time.monotonic()

        def at(moment: float) -> int:
            return now - max(0, int((monotonic - moment) * 1e9))

        wait = self._tracer.spans.start_span(
            "queue", context=set_span_in_context(self.span), start_time=at(pending.arrived)
        )
        sent = at(pending.sent)
        wait.end(sent)
        key = (backend, pending.sent)
        batch = self._tracer.batches.get(key)
        if batch is not None:
            batch.calls.append(self.span)
            return
        self._tracer.batches[key] = _Ending(self.span)
        # The calls of a batch get their results in one turn of the loop.
        asyncio.get_running_loop().call_soon(self._tracer.batch_ended, key, sent, now)


class TracedBackend:
    """The backend of ``served``, with spans for the calls whose request is sampled."""

    def __init__(self, tracer: Tracer, served: "Served") -> None:
        self._served = served
        self._backend = served.backend
        if (pool := served.pool) is not None:
            pool.on_queued = partial(tracer.queued, id(pool))
            pool.on_computed = partial(tracer.computed, id(pool))

    @property
    def ready(self) -> bool:
        """As the backend is."""
        return self._backend.ready

    @property
    def signature(self) -> Signature | None:
        """The backend's."""
        return self._backend.signature

    def submit(self, call: Call) -> "Pending":
        """To the backend."""
        pending = self._backend.submit(call)
        trace = call.options.trace
        if isinstance(trace, SpanTrace) and trace.span.is_recording():
            trace.served_by(self._served.endpoint, self._served.version)
        return pending

    def stream(self, call: Call) -> AsyncIterator[Answer]:
        """From the backend."""
        trace = call.options.trace
        if isinstance(trace, SpanTrace):
            trace.served_by(self._served.endpoint, self._served.version)
        return self._backend.stream(call)
