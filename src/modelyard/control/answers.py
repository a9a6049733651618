"""What the control API answers where it is not a noun of core by itself."""

from typing import Literal

from modelyard.core.access import ApiKey, Role
from modelyard.core.deployment import Deployment, Endpoint
from modelyard.core.history import AliasMove
from modelyard.core.manifest import Manifest
from modelyard.core.model import Mark, Version
from modelyard.core.remotes import RemoteRoute
from modelyard.core.routes import EndpointTraffic, Footprint, MemoryStatus, RemoteStatus, ReplicaStatus
from modelyard.core.signature import Signature
from modelyard.core.struct import Noun
from modelyard.store.homes import HomeEntry
from modelyard.store.usage import StoreUsage

EndpointState = Literal["starting", "ready", "asleep", "waking", "updating", "failing", "failed", "unknown"]


class ErrorBody(Noun, omit_defaults=True):
    """Every error, on every address; the codes are those of ``core.errors``."""

    error: str
    code: str
    retryable: bool
    request_id: str
    field: str | None = None


class MeAnswer(Noun):
    """Who calls. ``name`` is that of the key (None: the home's own, or this machine's user where no key is asked for),
    ``project`` the one that is seen (None: all)."""

    name: str | None
    role: Role
    project: str | None
    installation: bool
    endpoints: tuple[str, ...]
    authentication: bool


class KeyMade(Noun):
    """A key, and its secret, which nobody can show again."""

    key: ApiKey
    secret: str


class ModelMoved(Noun):
    """A model is in ``project`` now, and so are the ``endpoints`` that it is deployed to."""

    model: str
    project: str
    endpoints: tuple[str, ...]


class UploadAnswer(Noun):
    """An upload: what it will contain, what has not come yet, until when it is kept.

    ``missing`` are digests. Of a file that comes in parts, of ``part_size`` bytes each but for the last,
    ``parts`` has the numbers of those that are here.
    """

    id: str
    manifest: Manifest
    missing: tuple[str, ...]
    parts: dict[str, tuple[int, ...]]
    part_size: int
    created: float
    expires: float


class ModelAnswer(Noun):
    """One model with its versions, also those that are deleted and can be restored; ``aliases`` point at numbers."""

    name: str
    created: float
    latest: int
    versions: tuple[Version, ...]
    aliases: dict[str, int]
    project: str = "default"


class AliasesAnswer(Noun):
    """The numbers that the aliases of a model point at."""

    model: str
    aliases: dict[str, int]


class AliasAnswer(Noun):
    """Where an alias points now; ``move`` is how it came there (null: it was there already)."""

    model: str
    alias: str
    version: int | None
    move: AliasMove | None


class EndpointAnswer(Noun):
    """One endpoint as it stands.

    ``state``: *starting* (no revision was ready yet, or the one that serves starts again), *ready*,
    *asleep* (not in memory; a call wakes it), *waking* (that call waits),
    *updating* (ready, and another revision is on its way), *failing* (the node cannot keep the
    serving revision up), *failed* (its first revision failed), *unknown* (the node does not answer).
    ``failure`` is the last report of the revision that failed, also of a newer one than serves; ``deprecated`` is
    said of the version.
    """

    endpoint: Endpoint
    serving: Deployment | None
    wanted: Deployment
    url: str
    state: EndpointState
    replicas: tuple[ReplicaStatus, ...]
    signature: Signature | None
    footprint: Footprint | None
    apart: str | None
    traffic: EndpointTraffic | None
    failure: str | None
    deprecated: Mark | None


class RemotesAnswer(RemoteRoute, kw_only=True):
    """The remotes of one endpoint. ``status`` has those that the node knows (none while it does not
    answer), ``traffic`` is the endpoint's, by whatever backend."""

    url: str
    status: tuple[RemoteStatus, ...]
    traffic: EndpointTraffic | None


class EnvironmentUser(Noun):
    """An endpoint that wants or serves a deployment in an environment."""

    endpoint: str
    model: str
    version: int


class EnvironmentAnswer(Noun):
    """One environment. ``packages`` are those of its lock (name==version), ``size`` is bytes, ``last_used``
    when it was last asked for or seen in use (at least hourly), seconds since the epoch."""

    id: str
    requirements: tuple[str, ...]
    packages: tuple[str, ...]
    interpreter: str
    size: int
    created: float
    used_by: tuple[EnvironmentUser, ...]
    last_used: float | None


class EnvironmentFreed(Noun):
    """An environment that was removed (or would be): ``freed`` are the bytes that the disk gets back, which are
    fewer than its ``size`` where the package cache or another environment has the same files."""

    id: str
    size: int
    freed: int
    last_used: float


class EnvironmentsAnswer(Noun):
    """What a clean-up removed, and why the others stay: ``used`` by a deployment, a replica or a job, ``recent``
    (unused for less than was asked for), ``busy`` (a process builds or tries it)."""

    removed: tuple[EnvironmentFreed, ...] = ()
    used: tuple[str, ...] = ()
    recent: tuple[str, ...] = ()
    busy: tuple[str, ...] = ()
    freed: int = 0


class StoreTrouble(Noun):
    """A blob that is not in order: where it lies, what is wrong, and the files (``model/version/path``) it is."""

    kind: Literal["missing", "damaged"]
    sha256: str
    place: str
    message: str
    repaired: bool
    used_by: tuple[str, ...]


class StoreFreshness(Noun):
    """How many bytes of the files of all models were read and compared, here or on their way in, within ``within`` seconds
    (0: nothing is read again), when the one of longest ago was (None: there are none), and what was wrong then and is
    still."""

    within: float
    bytes: int
    oldest: float | None
    troubles: tuple[StoreTrouble, ...]


class StoreAnswer(StoreUsage):
    """What all models take, and how far reading them again is."""

    checked: StoreFreshness


class StoreChecked(Noun):
    """What was looked at, of how much; ``after`` is where the next call goes on (null: that was all)."""

    blobs: int
    bytes: int
    all_blobs: int
    all_bytes: int
    troubles: tuple[StoreTrouble, ...]
    after: str | None


class ControlAnswer(Noun):
    """The control plane itself. Times in seconds since the epoch, memory (resident) in bytes."""

    pid: int
    started: float
    url: str | None
    memory: int | None


class NodeAnswer(Noun):
    """The node as the control plane sees it. ``memory`` is its own process, ``budget`` what it may take
    with all of its models."""

    url: str | None
    up: bool
    pid: int | None = None
    generation: int | None = None
    started: float | None = None
    memory: int | None = None
    budget: MemoryStatus | None = None


class StatusAnswer(Noun):
    """The platform. ``memory_bytes``: control plane, node and all executors together. ``database``: which one,
    without a password; ``homes``: those that share it, this one (``id``) among them."""

    version: str
    control: ControlAnswer
    node: NodeAnswer
    endpoints: int
    models: int
    home: str
    authentication: bool
    memory_bytes: int | None
    database: str
    id: str | None = None
    homes: tuple[HomeEntry, ...] = ()


class HealthAnswer(Noun):
    """``ok`` when the process answers; ``ready`` also asks the database."""

    status: Literal["ok", "ready"]
