"""The table of routes: all that a node needs to know, pushed by the control plane, kept on disk."""

from typing import Literal

from modelyard.core.deployment import Leave, Resources, Scaling, ServingOptions
from modelyard.core.signature import Signature
from modelyard.core.struct import Noun


class ExecutorSpec(Noun):
    """How to start one executor: interpreter of the environment, adapter, folder of the files. ``trusted``: somebody
    said that what the files would run may run; ``sandboxed``: that let them in, so it runs only where it is confined."""

    python: str
    adapter: str
    files: str
    options: dict[str, object] = {}
    trusted: bool = False
    sandboxed: bool = False


class Pool(Noun):
    """The replicas of one deployment on this node, and the queue in front of them. ``memory`` is what one
    is thought to take (bytes; None: unknown), until it was measured."""

    deployment: str
    endpoint: str
    model: str
    version: int
    digest: str
    executor: ExecutorSpec
    replicas: int = 1
    resources: Resources = Resources()
    scaling: Scaling = Scaling()
    serving: ServingOptions = ServingOptions()
    leave: Leave = Leave()
    memory: int | None = None
    signature: Signature | None = None
    example: dict[str, object] | None = None


class Remote(Noun):
    """A backend elsewhere. ``url`` is its base (``http://host:8701``, or ``unix:/path`` for a node of this
    machine); ``kind`` what it speaks: "v2" (another node, any V2 server) or "openai" (embeddings).
    ``model`` is the name of the model there, ``weight`` its share of the traffic, ``key_variable`` the
    environment variable of the node that holds its API key."""

    url: str
    model: str
    kind: Literal["v2", "openai"] = "v2"
    weight: float = 1.0
    key_variable: str | None = None


class RetryOptions(Noun):
    """Calls to remotes: ``attempts`` in all, retries at most ``budget`` of the calls, and after ``hedge``
    seconds without an answer (None: never) a second backend is asked too."""

    attempts: int = 3
    budget: float = 0.2
    hedge: float | None = None


class Route(Noun):
    """Calls to ``endpoint`` go to the pool of ``deployment``, to ``remotes``, or to both by weight.

    ``signature``, ``model`` and ``serving`` are for a route without a pool; a signature of None is
    asked from the remotes.
    """

    endpoint: str
    deployment: str | None = None
    weight: float = 1.0
    remotes: tuple[Remote, ...] = ()
    retry: RetryOptions = RetryOptions()
    model: str = ""
    serving: ServingOptions = ServingOptions()
    signature: Signature | None = None


class Grant(Noun):
    """What one API key may on a node: predict on ``endpoints``, and where it ``manages`` load and unload them, until
    ``expires`` (seconds since the epoch, by the node's clock). ``digest`` is the key's SHA-256 (hex)."""

    digest: str
    endpoints: tuple[str, ...] = ()
    manages: bool = False
    expires: float | None = None


class RouteTable(Noun):
    """What a node is to serve. A higher ``generation`` replaces a lower one, whole.

    ``default`` is the endpoint behind ``/predict``. ``keys`` are SHA-256 digests (hex) of the API
    keys that may call everything; None: no key is asked for. ``grants`` are further keys, which see what they
    name and nothing else.
    """

    generation: int = 0
    pools: tuple[Pool, ...] = ()
    routes: tuple[Route, ...] = ()
    default: str | None = None
    keys: tuple[str, ...] | None = None
    grants: tuple[Grant, ...] = ()


class Confinement(Noun):
    """What holds the code of a replica, by the mechanism that does; None: nothing. ``files``: it reads and writes
    what it may alone; ``modes``: nor can it change modes, owners and times of other files; ``network``: it has
    none ("open": it has leave); ``signals``: it can send none to other programs; ``memory`` (only where it has a
    limit) and ``processes``: it can have no more than so much, so many."""

    files: str | None = None
    modes: str | None = None
    network: str | None = None
    signals: str | None = None
    memory: str | None = None
    processes: str | None = None

    @property
    def lacks(self) -> list[str]:
        """What its code should be kept from, and is not or in part."""
        files = self.files is None or "all but" in self.files
        network = self.network is None or "alone" in self.network
        return ["files"] * files + ["the network"] * network


class ReplicaStatus(Noun):
    """One replica as the node sees it. Times are seconds since the epoch, memory is bytes. ``device`` is where it
    computes, and ``device_memory`` what it was last seen to take of it (None: that is not told). ``confinement``
    is None until it has said what it could do."""

    id: str
    state: Literal["starting", "ready", "backing_off", "stopping"]
    pid: int | None = None
    since: float = 0.0
    restarts: int = 0
    memory: int | None = None
    device: str | None = None
    device_memory: int | None = None
    confinement: Confinement | None = None


Measured = Literal["process", "difference", "framework"]


class DeviceFootprint(Noun):
    """What one replica takes of a device's memory, as in :class:`Footprint`. ``measured``: of its *process*,
    by the driver; as the *difference* of all that is used of the device, before it was loaded and after; or,
    where the driver tells neither, what its *framework* says that it took."""

    loading: int
    loaded: int
    most: int
    measured: Measured = "process"


class Footprint(Noun):
    """What one replica was measured to take: ``loading`` is the peak until its first prediction was
    answered, ``loaded`` what it took then, ``most`` the most that it was seen to take since; bytes.
    ``seconds`` from the start of its process to that answer, the last time; ``soonest`` the least that this took of
    all loads but the very first, which has everything to import beside others that do (0: there was no other).
    ``devices`` has the same of a device's memory, by the kind of device that it was loaded on ("cuda"; "cpu" for a
    simulated one)."""

    loading: int
    loaded: int
    most: int
    seconds: float
    devices: dict[str, DeviceFootprint] = {}
    soonest: float = 0.0


PoolState = Literal["starting", "ready", "asleep", "waking", "failing", "draining"]


class PoolStatus(Noun):
    """One pool as the node sees it. *starting*: it has never served yet; *asleep*: it has, is not in memory
    now, and a call wakes it; *waking*: that call waits. ``failure`` is the last crash report, while it
    matters; ``footprint`` is None before it was measured. ``apart`` says why calls are computed one at a time,
    if they are."""

    deployment: str
    endpoint: str
    state: PoolState
    replicas: tuple[ReplicaStatus, ...] = ()
    footprint: Footprint | None = None
    signature: Signature | None = None
    failure: str | None = None
    queued: int = 0
    apart: str | None = None


class EndpointTraffic(Noun):
    """What an endpoint did lately: calls and errors a second, latency quantiles in seconds
    (None when there was no call: unknown is not zero), totals since the node started."""

    endpoint: str
    calls_per_second: float
    errors_per_second: float
    p50: float | None
    p99: float | None
    calls: int
    errors: int


class RemoteStatus(Noun):
    """One remote of an endpoint as the node sees it: *ready*, *resting* (its circuit breaker is open) or
    *down*, with ``failure`` for a reason. ``calls`` are the attempts since the node knows it, ``errors``
    those that brought no answer, ``latency`` a moving average in seconds (None before the first answer)."""

    endpoint: str
    url: str
    model: str
    state: Literal["ready", "resting", "down"]
    failure: str | None = None
    calls: int = 0
    errors: int = 0
    latency: float | None = None


class DeviceStatus(Noun):
    """A device's memory in bytes: what models may take of it, what they take (of those that are loading: what
    they are expected to), and what others hold of it (as of a second ago; None: that is not told). ``measured``
    is how it is known what a model takes (see :class:`DeviceFootprint`). ``model`` is what the driver calls
    the device."""

    name: str
    model: str
    budget: int
    used: int
    others: int | None
    measured: Measured


class MemoryStatus(Noun):
    """The node's budget: bytes that it may take with all its models (None: no limit is known), what it and
    they take (of those that are loading: what they are expected to), and how many models are in memory,
    asleep, or waiting for room; and the same of each device whose memory is known."""

    budget: int | None
    used: int
    awake: int
    asleep: int
    waiting: int
    devices: tuple[DeviceStatus, ...] = ()


class NodeStatus(Noun):
    """What a node reports to the control plane. ``used`` says when keys of grants were last let in (seconds since the
    epoch), by the first 16 characters of their digests."""

    pid: int
    generation: int
    started: float
    pools: tuple[PoolStatus, ...] = ()
    traffic: tuple[EndpointTraffic, ...] = ()
    remotes: tuple[RemoteStatus, ...] = ()
    memory: MemoryStatus | None = None
    used: dict[str, float] = {}
