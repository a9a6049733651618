"""The table's routes with remotes: checked, kept over changes of the table, served as any other endpoint."""

import time
from collections.abc import Callable, Iterator, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from modelyard.core.errors import InvalidInput
from modelyard.core.remotes import check_remote, check_retry, check_weights
from modelyard.core.routes import Remote, RemoteStatus, RouteTable
from modelyard.serve.observe.metrics import EndpointMetrics
from modelyard.serve.pool.pool import Pool
from modelyard.serve.remote.group import RemoteGroup
from modelyard.serve.remote.member import LocalMember, RemoteMember
from modelyard.serve.served import Served

_Key = tuple[str, str, str, str | None]


def check_routes(table: RouteTable) -> None:
    """Raise InvalidInput, naming the field, for a route that could never serve."""
    pools = {pool.deployment for pool in table.pools}
    names: set[str] = set()
    for number, route in enumerate(table.routes):
        field = f"routes[{number}]"
        if route.endpoint in names:
            raise InvalidInput(f"There are two routes for {route.endpoint!r}.", field=f"{field}.endpoint")
        names.add(route.endpoint)
        if route.deployment is not None and route.deployment not in pools:
            raise InvalidInput(
                f"There are routes to deployments without a pool: {route.deployment}.",
                field=f"{field}.deployment",
            )
        if route.deployment is None and not route.remotes:
            raise InvalidInput(
                f"The route of {route.endpoint!r} leads nowhere; give it a deployment or remotes.",
                field=field,
            )
        weights = [remote.weight for remote in route.remotes]
        if route.deployment is not None:
            weights.append(route.weight)
        check_weights(route.endpoint, weights, f"{field}.weight")
        for position, remote in enumerate(route.remotes):
            check_remote(remote, f"{field}.remotes[{position}]")
        check_retry(route.retry, f"{field}.retry")


class RemoteRoutes(Collector):
    """The groups of the present table. A remote that stays in the table keeps its connections, breaker, health."""

    def __init__(self) -> None:
        self._members: dict[_Key, RemoteMember] = {}
        self._groups: dict[str, RemoteGroup] = {}
        self._served: dict[str, Served] = {}

    def follow(
        self, table: RouteTable, pools: Mapping[str, Pool], metrics: Callable[[str], EndpointMetrics]
    ) -> dict[str, Served]:
        """The endpoints of ``table`` that have remotes. Calls on their way stay where they are."""
        former = self._members
        self._members = {}
        self._groups = {}
        self._served = {}
        for route in table.routes:
            if not route.remotes:
                continue
            members = [self._member(remote, former) for remote in route.remotes]
            pool = None if route.deployment is None else pools[route.deployment]
            counts = metrics(route.endpoint) if pool is None else pool.metrics
            group = RemoteGroup(route, members, None if pool is None else LocalMember(pool), counts)
            if pool is None:
                served = Served.elsewhere(route, group, counts)
            else:
                served = Served(pool, counts)
                served.backend = group
            self._groups[route.endpoint] = group
            self._served[route.endpoint] = served
            _identify(served, group)
        for key, member in former.items():
            if key not in self._members:
                member.stop()
        return self._served

    def _member(self, remote: Remote, former: Mapping[_Key, RemoteMember]) -> RemoteMember:
        key = (remote.url, remote.model, remote.kind, remote.key_variable)
        member = self._members.get(key) or former.get(key)
        if member is None:
            member = RemoteMember(remote, self._learned)
            member.start()
        self._members[key] = member
        return member

    def _learned(self, member: RemoteMember) -> None:
        for endpoint, group in self._groups.items():
            if member in group.remotes:
                _identify(self._served[endpoint], group)

    def close(self) -> None:
        """Let all remotes go; those who wait for a call have been answered."""
        for member in self._members.values():
            member.stop()

    def status(self) -> tuple[RemoteStatus, ...]:
        """What the control plane sees, in the order of the table."""
        now = time.monotonic()
        return tuple(
            member.status(endpoint, now)
            for endpoint, group in self._groups.items()
            for member in group.remotes
        )

    def collect(self) -> Iterator[Metric]:
        """Called by the Prometheus client on each scrape."""
        calls = CounterMetricFamily(
            "modelyard_remote_calls", "Attempts at remotes.", labels=["remote", "code"]
        )
        opened = CounterMetricFamily(
            "modelyard_remote_breaker_opened", "Times that a circuit breaker opened.", labels=["remote"]
        )
        available = GaugeMetricFamily(
            "modelyard_remote_available", "1 while a remote takes calls.", labels=["remote"]
        )
        latency = GaugeMetricFamily(
            "modelyard_remote_latency_seconds", "Moving average of a remote's answers.", labels=["remote"]
        )
        outstanding = GaugeMetricFamily(
            "modelyard_remote_outstanding", "Calls that are on their way.", labels=["remote"]
        )
        retries = CounterMetricFamily(
            "modelyard_remote_retries", "Second and later attempts.", labels=["endpoint"]
        )
        hedges = CounterMetricFamily("modelyard_remote_hedges", "Hedged calls.", labels=["endpoint"])
        now = time.monotonic()
        for member in self._members.values():
            for code, count in member.calls.items():
                calls.add_metric([member.name, code], count)
            opened.add_metric([member.name], member.breaker.opened)
            available.add_metric([member.name], member.share(now))
            outstanding.add_metric([member.name], member.load.outstanding)
            if member.load.latency is not None:
                latency.add_metric([member.name], member.load.latency)
        for endpoint, group in self._groups.items():
            retries.add_metric([endpoint], group.retries)
            hedges.add_metric([endpoint], group.hedges)
        yield from (calls, opened, available, latency, outstanding, retries, hedges)


def _identify(served: Served, group: RemoteGroup) -> None:
    """Name, version and digest as the first remote tells them, where there is no pool that knows."""
    learned = next((member.learned for member in group.remotes if member.learned is not None), None)
    if served.pool is not None or learned is None:
        return
    served.model = served.model or learned.model
    served.version = learned.version
    served.platform = learned.platform
    # What caches go by: another digest at any remote is another model.
    digests = [member.learned.digest for member in group.remotes if member.learned is not None]
    served.digest = "+".join(digests) if all(digests) else served.digest
