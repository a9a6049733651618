"""The node: follows the table of routes, owns the pools, listens."""

import asyncio
import logging
import os
import shutil
import signal
import socket
import time
from functools import partial
from pathlib import Path

import msgspec

from modelyard.core import routes
from modelyard.core.deployment import ServingOptions
from modelyard.core.errors import Conflict, Unavailable
from modelyard.core.settings import Home, Settings
from modelyard.host.files import write_whole
from modelyard.host.memory import share_of_machine
from modelyard.host.network import url_of
from modelyard.serve import table as kept
from modelyard.serve.cache.redis import address_of
from modelyard.serve.cache.second import SecondLevel
from modelyard.serve.dataplane import Dataplane
from modelyard.serve.edge.cors import Cors
from modelyard.serve.edge.server import Server, most_connections
from modelyard.serve.fronts import Fronts, front_table
from modelyard.serve.grpc.service import GrpcService
from modelyard.serve.jobs.jobs import Jobs
from modelyard.serve.observe.exposition import Exposition
from modelyard.serve.observe.logs import ModelLog
from modelyard.serve.observe.metrics import NodeCollector, PoolGauge, registry_of
from modelyard.serve.pool import devices, limits, report
from modelyard.serve.pool.device_memory import DeviceMemory
from modelyard.serve.pool.executor import command
from modelyard.serve.pool.forks import ForkServers
from modelyard.serve.pool.learnt import Learnt
from modelyard.serve.pool.memory import Memory
from modelyard.serve.pool.nvml import Nvml
from modelyard.serve.pool.pool import Pool
from modelyard.serve.pool.seats import Seats
from modelyard.serve.protocols import Router
from modelyard.serve.protocols.internal import Internal
from modelyard.serve.protocols.invocations import aliases
from modelyard.serve.remote.routes import RemoteRoutes, check_routes

log = logging.getLogger("modelyard.node")

PART = 0.8  # of the machine's memory is the budget of a node that was not told one
DRAIN_LIMIT = 25.0  # seconds that a pool may take to answer what it has; the supervisor waits for 40


class Node:
    """One node. Construct and :meth:`run` it inside its event loop."""

    def __init__(self, settings: Settings, node_key: str) -> None:
        self._home = Home(settings.home)
        self._folder = self._home.run / "tmp"  # of executors
        self._settings = settings
        self._started = time.time()
        self._collector = NodeCollector(self._gauges)
        self._dataplane = Dataplane(self._collector)
        self._redis = (
            SecondLevel(address_of(settings.redis_url), settings.redis_budget, self._collector.redis)
            if settings.redis_url is not None
            else None
        )
        self._dataplane.caches.second = self._redis
        self._pools: dict[str, Pool] = {}
        self._remotes = RemoteRoutes()
        self._fronts: Fronts | None = None
        self._draining: dict[asyncio.Task[None], Pool] = {}
        found = devices.detect()
        self._seats = Seats([each.name for each in found], sorted(os.sched_getaffinity(0)))
        budget = share_of_machine(PART) if settings.memory is None else int(settings.memory)
        self._memory = Memory(
            budget,
            ForkServers(command, self._folder),
            DeviceMemory(found, settings.device_memory, Nvml.open()),
        )
        self._collector.memory = self._memory
        self._applying = asyncio.Lock()
        internal = Internal(node_key, self.status, self.apply, self._log_path)
        registry = registry_of(self._collector)
        registry.register(self._remotes)
        self.router = Router(
            self._dataplane,
            internal,
            Exposition(registry),
            max_body=settings.max_body,
            cors=Cors(settings.cors_origins) if settings.cors_origins else None,
            aliases=aliases(os.environ),
            open_metrics=settings.open_metrics,
        )
        if settings.otlp_endpoint is not None:
            from modelyard.serve.observe.tracing import TracedBackend, Tracer

            self.router.tracer = Tracer(settings.otlp_endpoint, settings.trace_ratio)
            self._dataplane.traced = partial(TracedBackend, self.router.tracer)
        self.router.jobs = self._jobs = Jobs(
            self._home.jobs,
            self.router.answer,
            self._replicas,
            self._patience,
            expiry=settings.job_expiry,
        )
        self._collector.jobs = self._jobs
        self._grpc = GrpcService(self._dataplane, self._settings.max_body)
        self._grpc.tracer = self.router.tracer
        self._collector.requests["rest"] = lambda: self.router.requests
        self._collector.requests["grpc"] = lambda: self._grpc.requests

    async def apply(self, table: routes.RouteTable) -> None:
        """Serve by ``table``: start what is new, turn the routes, drain what is gone.

        Raises Conflict for an older generation, InvalidInput for a route to no pool, Unavailable
        when the table cannot be kept on disk.
        """
        async with self._applying:
            current = self._dataplane.table
            if table.generation < current.generation:
                raise Conflict(
                    f"This node follows generation {current.generation}; {table.generation} is older."
                )
            if table == current:
                return
            check_routes(table)
            table = kept.shared(table, current)
            try:
                await asyncio.to_thread(kept.save, self._home.routes, table)
            except OSError as error:
                raise Unavailable(f"The table of routes cannot be kept on disk: {error}.") from error
            self._follow(table)
            if self._fronts is not None:
                await self._fronts.told()

    def _follow(self, table: routes.RouteTable) -> None:
        former = self._pools
        self._pools = {}
        for spec in table.pools:
            pool = former.get(spec.deployment)
            if pool is None or _work(pool.spec) != _work(spec):
                pool = self._open(spec)
            self._pools[spec.deployment] = pool
        elsewhere = self._remotes.follow(table, self._pools, self._collector.endpoint)
        self._dataplane.follow(table, self._pools, elsewhere)
        self._collector.keep({pool.spec.endpoint for pool in self._pools.values()} | set(elsewhere))
        for pool in former.values():
            if pool not in self._pools.values():
                task = asyncio.create_task(pool.drain(DRAIN_LIMIT), name=f"drain {pool.spec.deployment}")
                self._draining[task] = pool
                task.add_done_callback(self._drained)
        log.info(
            "a new table of routes",
            extra={"generation": table.generation, "pools": len(table.pools), "routes": len(table.routes)},
        )

    def _drained(self, task: "asyncio.Task[None]") -> None:
        pool = self._draining.pop(task)
        if not task.cancelled() and task.exception() is not None:
            log.error(
                "draining failed", extra={"deployment": pool.spec.deployment}, exc_info=task.exception()
            )

    def _open(self, spec: routes.Pool) -> Pool:
        return Pool(
            spec,
            self._collector.endpoint(spec.endpoint, spec.model, spec.version),
            ModelLog(self._log_path(spec.deployment)),
            self._folder,
            Learnt(self._home.run / "learnt" / f"{spec.deployment}.json", spec.digest),
            self._seats,
            self._memory,
            self._settings.confine,
        )

    def _gauges(self) -> list[PoolGauge]:
        return [report.gauge(pool) for pool in self._pools.values()]

    def _replicas(self, endpoint: str) -> int:
        """How many replicas compute an endpoint's jobs."""
        return max(
            (pool.spec.replicas for pool in self._pools.values() if pool.spec.endpoint == endpoint),
            default=1,
        )

    def _patience(self, endpoint: str) -> float:
        """Seconds that a job of an endpoint may take in all."""
        found = [route.serving for route in self._dataplane.table.routes if route.endpoint == endpoint]
        found += [pool.spec.serving for pool in self._pools.values() if pool.spec.endpoint == endpoint]
        return found[-1].job_timeout if found else ServingOptions().job_timeout

    def _log_path(self, deployment: str) -> Path:
        return self._home.logs / "models" / f"{deployment}.log"

    def status(self) -> routes.NodeStatus:
        """What the control plane sees."""
        live = {pool.spec.endpoint for pool in self._pools.values()} | set(self._dataplane.endpoints())
        pools = [*self._pools.values(), *self._draining.values()]
        return routes.NodeStatus(
            pid=os.getpid(),
            generation=self._dataplane.table.generation,
            started=self._started,
            pools=tuple(report.status(pool) for pool in pools),
            traffic=tuple(
                metrics.traffic() for name, metrics in self._collector.endpoints.items() if name in live
            ),
            remotes=self._remotes.status(),
            memory=self._memory.status(),
            used=self._dataplane.used,
        )

    async def run(self, listener: socket.socket, grpc_listener: socket.socket) -> None:
        """Serve until SIGTERM or SIGINT, then answer what is there and stop.

        Both sockets speak HTTP/1.1, HTTP/2 and gRPC; there are two because clients expect a port of gRPC.
        """
        shutil.rmtree(self._folder, ignore_errors=True)
        limits.sweep()
        if self._redis is not None:
            self._redis.start()
        self._memory.start()
        self._follow(kept.shared(kept.load(self._home.routes), routes.RouteTable()))
        await self._jobs.start()
        server = Server(
            self.router,
            self._settings.max_body,
            admit=self.router.admit,
            max_connections=most_connections(),
            rpc=self._grpc,
        )
        self._collector.connections["http"] = server.connections
        if self._settings.node_processes == 1:
            await server.start(listener)
        else:
            self._fronts = await self._start_fronts(listener)
        await server.start(grpc_listener)
        loop = asyncio.get_running_loop()
        stopping = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stopping.set)
        url = url_of(listener)
        # The port of gRPC first: who sees the node's address finds the other one too.
        write_whole(self._home.address("grpc"), url_of(grpc_listener).encode())
        write_whole(self._home.address("node"), url.encode())
        log.info("the node listens", extra={"url": url, "pid": os.getpid()})
        await stopping.wait()
        await self._jobs.close()
        if self._fronts is not None:
            await self._fronts.stop(DRAIN_LIMIT)
        # Together: a call in flight needs its pool, and a pool stops when nobody waits any more.
        await asyncio.gather(
            server.stop(DRAIN_LIMIT),
            *self._draining,
            *(pool.drain(DRAIN_LIMIT) for pool in self._pools.values()),
            return_exceptions=True,
        )
        await self._memory.stop()
        self._remotes.close()
        if self.router.tracer is not None:
            await self.router.tracer.close()
        if self._redis is not None:
            await self._redis.close()
        self._home.address("node").unlink(missing_ok=True)
        self._home.address("grpc").unlink(missing_ok=True)
        log.info("the node stopped")

    async def _start_fronts(self, listener: socket.socket) -> Fronts:
        fronts = Fronts(
            self._settings.node_processes,
            listener,
            self._home.run,
            lambda: front_table(self._dataplane),
            self.router,
            self._settings.max_body,
            self.router.admit_passed,
            self._dataplane.note_uses,
        )
        await fronts.start()
        return fronts


def _work(spec: routes.Pool) -> routes.Pool:
    """What, when it differs, needs new executors: all but what can be learnt while serving."""
    return msgspec.structs.replace(spec, signature=None, example=None, memory=None)
