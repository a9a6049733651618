"""One endpoint as the pages show it: numbers as people read them, "–" for what is not known."""

from typing import NamedTuple

from modelyard.control.answers import EndpointAnswer, RemotesAnswer
from modelyard.core.units import format_bytes, format_seconds

UNKNOWN = "–"


class Row(NamedTuple):
    """Text for the table and for the head of an endpoint's page; ``failure`` is its last line."""

    name: str
    state: str
    serving: bool
    model: str
    version: int
    next: int | None
    ready: int
    replicas: int
    calls: str
    p50: str
    p99: str
    errors: str
    has_errors: bool
    memory: str
    url: str
    failure: str | None


def row_of(answer: EndpointAnswer) -> Row:
    """No traffic yet is told apart from a latency of zero."""
    current = answer.serving or answer.wanted
    traffic = answer.traffic
    memory = sum(replica.memory or 0 for replica in answer.replicas)
    moving = answer.serving is not None and answer.wanted.id != answer.serving.id
    lines = [line.strip() for line in (answer.failure or "").splitlines() if line.strip()]
    return Row(
        name=answer.endpoint.name,
        state=answer.state,
        serving=answer.serving is not None,
        model=current.model,
        version=current.version,
        next=answer.wanted.version if moving else None,
        ready=sum(replica.state == "ready" for replica in answer.replicas),
        replicas=current.settings.replicas,
        calls=f"{traffic.calls_per_second:.1f}" if traffic is not None else UNKNOWN,
        p50=_seconds(traffic.p50 if traffic is not None else None),
        p99=_seconds(traffic.p99 if traffic is not None else None),
        errors=str(traffic.errors) if traffic is not None else UNKNOWN,
        has_errors=traffic is not None and traffic.errors > 0,
        memory=format_bytes(memory) if memory else UNKNOWN,
        url=f"{answer.url}/predict",
        failure=lines[-1][:300] if lines else None,
    )


class RemoteRow(NamedTuple):
    """One remote of one endpoint, as text."""

    endpoint: str
    url: str
    model: str
    state: str
    weight: str
    calls: str
    errors: str
    has_errors: bool
    latency: str
    failure: str | None


def remote_rows(answer: RemotesAnswer) -> list[RemoteRow]:
    """The remotes of one endpoint; *unknown* while the node does not answer."""
    known = {(status.url, status.model): status for status in answer.status}
    rows: list[RemoteRow] = []
    for remote in answer.remotes:
        status = known.get((remote.url, remote.model))
        rows.append(
            RemoteRow(
                endpoint=answer.endpoint,
                url=remote.url,
                model=remote.model,
                state=status.state if status is not None else "unknown",
                weight=f"{remote.weight:g}",
                calls=str(status.calls) if status is not None else UNKNOWN,
                errors=str(status.errors) if status is not None else UNKNOWN,
                has_errors=status is not None and status.errors > 0,
                latency=_seconds(status.latency if status is not None else None),
                failure=status.failure if status is not None else None,
            )
        )
    return rows


def _seconds(value: float | None) -> str:
    return UNKNOWN if value is None else format_seconds(value)
