"""``modelyard endpoints``: every endpoint with its state and traffic, or one with its options."""

from modelyard.cli import remotes
from modelyard.cli.common import client
from modelyard.cli.output import print_facts, print_json, print_table
from modelyard.client.answers import EndpointInfo, RemotesInfo
from modelyard.client.options import describe
from modelyard.core.errors import NotFound
from modelyard.core.routes import EndpointTraffic
from modelyard.core.units import format_bytes, format_seconds

_REPORTED = ("failed", "failing", "updating")  # of these the log has more to say


def list_endpoints(*, as_json: bool) -> None:
    with client() as platform:
        endpoints = platform.endpoints()
        elsewhere = [] if as_json else platform.remotes()
    if as_json:
        print_json(endpoints)
        return
    if not endpoints and not elsewhere:
        print("No endpoints yet. Deploy a model: modelyard deploy ./model.onnx")
        return
    if endpoints:
        _print(endpoints)
    if elsewhere:
        if endpoints:
            print()
        remotes.print_states(elsewhere)


def _print(endpoints: list[EndpointInfo]) -> None:
    print_table(
        ["ENDPOINT", "STATE", "MODEL", "REPLICAS", "CALLS/S", "P50", "P99", "ERRORS", "URL"],
        [_row(endpoint) for endpoint in endpoints],
        right=(4, 5, 6, 7),
    )
    for endpoint in endpoints:
        if endpoint.failure:
            print(f"\n{endpoint.name}: {_headline(endpoint.failure)}")
            if endpoint.state in _REPORTED:
                print(f"  the whole report: modelyard logs {endpoint.name}")


def show(name: str, *, as_json: bool) -> None:
    """One endpoint with its traffic and options, or the remotes that serve it alone. Raises NotFound."""
    with client() as platform:
        try:
            endpoint = platform.endpoint(name)
        except NotFound as error:
            try:
                elsewhere = platform.remotes_of(name)
            except NotFound:
                raise error from None
            if as_json:
                print_json(elsewhere)
            else:
                _print_elsewhere(elsewhere)
            return
    if as_json:
        print_json(endpoint)
        return
    _, state, model, replicas, calls, p50, p99, errors, url = _row(endpoint)
    options = dict(describe(endpoint.current.settings)) | {"replicas": f"{replicas} ready"}
    print_facts(
        [
            ("endpoint", f"{endpoint.name} ({state})"),
            ("url", url),
            ("model", f"{model}, revision {endpoint.current.revision}"),
            ("calls/s", calls),
            ("p50, p99", f"{p50}, {p99}"),
            ("errors", errors),
            *_footprint(endpoint),
            *([("batches", f"none: {endpoint.apart}")] if endpoint.apart else []),
            *_confinement(endpoint),
            *options.items(),
        ]
    )
    if endpoint.deprecated is not None:
        print(f"\nIts version is deprecated: {endpoint.deprecated.why}")
    if endpoint.failure:
        print(f"\n{_headline(endpoint.failure)}")
        if endpoint.state in _REPORTED:
            print(f"  the whole report: modelyard logs {endpoint.name}")


def _footprint(endpoint: EndpointInfo) -> list[tuple[str, str]]:
    known = endpoint.footprint
    if known is None:
        return []
    return [
        (
            "takes",
            f"{format_bytes(known.most)} at most, {format_bytes(known.loading)} while it is loaded (a copy)",
        ),
        *(
            (
                f"takes of {'CUDA' if kind == 'cuda' else 'simulated'} devices",
                f"{format_bytes(each.most)} at most, {format_bytes(each.loading)} while it is loaded (a copy)",
            )
            for kind, each in known.devices.items()
        ),
        ("wakes in", format_seconds(known.seconds)),
    ]


def _confinement(endpoint: EndpointInfo) -> list[tuple[str, str]]:
    known = endpoint.confinement
    if known is None:
        return []
    told = [
        f"{name} by {how}" if (how := getattr(known, name)) is not None else f"{name} NOT HELD"
        for name in ("files", "network", "processes")
        if name != "network" or known.network != "open"
    ]
    return [
        ("held", ", ".join(told) + ("; the network is open by leave" if known.network == "open" else ""))
    ]


def _print_elsewhere(route: RemotesInfo) -> None:
    calls, p50, p99, errors = _traffic(route.traffic)
    print_facts(
        [
            ("endpoint", f"{route.endpoint} (served elsewhere)"),
            ("url", f"{route.url}/predict"),
            ("calls/s", calls),
            ("p50, p99", f"{p50}, {p99}"),
            ("errors", errors),
        ]
    )
    print()
    remotes.print_states([route])


def _row(endpoint: EndpointInfo) -> list[str]:
    ready = sum(replica.state == "ready" for replica in endpoint.replicas)
    moving = endpoint.serving is not None and endpoint.serving.id != endpoint.wanted.id
    version = f"{endpoint.current.model} v{endpoint.current.version}"
    if moving:
        version += f" -> v{endpoint.wanted.version}"
    return [
        endpoint.name,
        endpoint.state,
        version,
        f"{ready}/{endpoint.current.settings.replicas}",
        *_traffic(endpoint.traffic),
        endpoint.predict_url,
    ]


def _traffic(traffic: EndpointTraffic | None) -> list[str]:
    """Calls a second, p50, p99, errors."""
    if traffic is None:
        return ["-"] * 4
    return [
        f"{traffic.calls_per_second:.1f}",
        format_seconds(traffic.p50) if traffic.p50 is not None else "-",
        format_seconds(traffic.p99) if traffic.p99 is not None else "-",
        str(traffic.errors),
    ]


def _headline(report: str) -> str:
    """How a process ended; of a mere traceback what was raised."""
    lines = [line.strip() for line in report.splitlines() if line.strip()]
    if not lines:
        return ""
    return lines[0] if lines[0].startswith("The model's process ended") else lines[-1]
