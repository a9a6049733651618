"""What the platform answers: the nouns of core, put together as the control API sends them."""

from typing import Annotated, TypeVar

import msgspec

from modelyard.core.access import ApiKey, Role
from modelyard.core.deployment import Deployment, Endpoint
from modelyard.core.errors import ERROR_KINDS, Internal, ModelyardError
from modelyard.core.history import AliasMove
from modelyard.core.manifest import Manifest
from modelyard.core.model import Mark, Version
from modelyard.core.routes import (
    Confinement,
    EndpointTraffic,
    Footprint,
    MemoryStatus,
    Remote,
    RemoteStatus,
    ReplicaStatus,
    RetryOptions,
)
from modelyard.core.signature import Signature

T = TypeVar("T")


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """An answer of the platform. Unlike a noun it lets unknown fields pass: the server may be newer."""


class EndpointInfo(Answer, frozen=True):
    """One endpoint as it stands. ``url`` with ``/predict`` is what clients call;
    ``failure`` is the model's crash report."""

    endpoint: Endpoint
    wanted: Deployment
    url: str
    state: str
    serving: Deployment | None = None
    replicas: tuple[ReplicaStatus, ...] = ()
    signature: Signature | None = None
    footprint: Footprint | None = None
    apart: str | None = None
    traffic: EndpointTraffic | None = None
    failure: str | None = None
    deprecated: Mark | None = None

    @property
    def name(self) -> str:
        """The endpoint's name."""
        return self.endpoint.name

    @property
    def predict_url(self) -> str:
        """Where a record is posted to."""
        return f"{self.url}/predict"

    @property
    def confinement(self) -> Confinement | None:
        """What holds the model's code: of several replicas the first that told; None while there is none."""
        return next((each.confinement for each in self.replicas if each.confinement is not None), None)

    @property
    def current(self) -> Deployment:
        """The deployment that has the traffic; before the first is ready, the one that is wanted."""
        return self.serving or self.wanted


class RemotesInfo(Answer, frozen=True):
    """Where calls to one endpoint go beside its deployment (whose part is ``weight``), or instead of one;
    ``status`` is what the node knows of each remote."""

    endpoint: str
    remotes: tuple[Remote, ...]
    url: str
    weight: float = 1.0
    retry: RetryOptions = RetryOptions()
    status: tuple[RemoteStatus, ...] = ()
    traffic: EndpointTraffic | None = None

    def status_of(self, remote: Remote) -> RemoteStatus | None:
        """What the node knows of one; None while it does not know it."""
        named = (remote.url, remote.model)
        return next((each for each in self.status if (each.url, each.model) == named), None)


class EnvironmentUser(Answer, frozen=True):
    """An endpoint whose deployment is in an environment."""

    endpoint: str
    model: str
    version: int


class EnvironmentInfo(Answer, frozen=True):
    """One environment: what was asked for, the exact packages (name==version), its size in bytes, who uses
    it. Times in seconds since the epoch."""

    id: str
    requirements: tuple[str, ...]
    packages: tuple[str, ...]
    interpreter: str
    size: int
    created: float
    used_by: tuple[EnvironmentUser, ...] = ()
    last_used: float | None = None


class EnvironmentFreed(Answer, frozen=True):
    """An environment that was removed (or would be), and the bytes that the disk gets back."""

    id: str
    size: int
    freed: int
    last_used: float


class EnvironmentsFreed(Answer, frozen=True):
    """What a clean-up removed, and the environments that stay: used by a deployment or a job, unused for a short
    time only, being built or tried."""

    removed: tuple[EnvironmentFreed, ...] = ()
    used: tuple[str, ...] = ()
    recent: tuple[str, ...] = ()
    busy: tuple[str, ...] = ()
    freed: int = 0


class ModelBytes(Answer, frozen=True):
    """Bytes of one model: of its files, kept for it alone, kept for others too."""

    model: str
    blobs: int
    logical: int
    own: int
    shared: int


class StoreTrouble(Answer, frozen=True):
    """A blob that is not in order, and the files (``model/version/path``) that it is."""

    kind: str
    sha256: str
    place: str
    message: str
    repaired: bool
    used_by: tuple[str, ...] = ()


class StoreFreshness(Answer, frozen=True):
    """Bytes of files that were read and compared within ``within`` seconds (0: nothing is read again), when the one of
    longest ago was, and what was wrong then and is still."""

    within: float = 0.0
    bytes: int = 0
    oldest: float | None = None
    troubles: tuple[StoreTrouble, ...] = ()


class StoreInfo(Answer, frozen=True):
    """What all models take: bytes of their files, as they are kept at ``place``, and of the cache; how far reading them
    again is."""

    models: tuple[ModelBytes, ...]
    logical: int
    stored: int
    cached: int
    packs: int = 0
    place: str = ""
    checked: StoreFreshness = StoreFreshness()


class StoreReport(Answer, frozen=True):
    """What a check looked at, of how much, and what it found."""

    blobs: int
    bytes: int
    all_blobs: int
    all_bytes: int
    troubles: tuple[StoreTrouble, ...] = ()
    after: str | None = None


class StoreCollected(Answer, frozen=True):
    """What a collection removed, looked at, and gave back in bytes of packs."""

    uploads: int = 0
    blobs: int = 0
    versions: int = 0
    environments: int = 0
    leftovers: int = 0
    settled: int = 0
    cooled: int = 0
    gathered: int = 0
    packs: int = 0
    freed: int = 0
    cached: int = 0


class ModelInfo(Answer, frozen=True):
    """One model; ``version_list`` holds its versions when a single model was asked for."""

    name: str
    created: float
    latest: int
    versions: tuple[Version | int, ...] = ()
    aliases: dict[str, int] = {}


class ModelAliases(Answer, frozen=True):
    """The numbers that the aliases of a model point at."""

    model: str
    aliases: dict[str, int]


class AliasInfo(Answer, frozen=True):
    """Where an alias points now; ``move`` is how it came there (None: it was there already)."""

    model: str
    alias: str
    version: int | None = None
    move: AliasMove | None = None


class UploadInfo(Answer, frozen=True):
    """An upload that has begun: the digests that the platform has not got yet, and of files that come in parts of
    ``part_size`` bytes the numbers of those that it has."""

    id: str
    missing: tuple[str, ...] = ()
    parts: dict[str, tuple[int, ...]] = {}
    part_size: int = 0
    expires: float | None = None
    manifest: Manifest | None = None


class ProgramInfo(Answer, frozen=True):
    """One program of the platform, as the control plane sees it; of the node also what it may take with
    all of its models."""

    url: str | None = None
    pid: int | None = None
    up: bool = True
    started: float | None = None
    generation: int | None = None
    memory: int | None = None
    budget: MemoryStatus | None = None


class HomeInfo(Answer, frozen=True):
    """One of the homes that share a database: where its control plane and its node are reached, when it last said
    that it lives (seconds since the epoch), and whether that is too long ago."""

    id: str
    host: str
    url: str | None = None
    node_url: str | None = None
    seen: float = 0.0
    gone: bool = False


class Me(Answer, frozen=True):
    """Who a client is: ``name`` is its key's (None: the home's own key, or no key is asked for), ``project`` the one that it
    sees (None: all)."""

    name: str | None
    role: Role
    project: str | None = None
    installation: bool = False
    endpoints: tuple[str, ...] = ()
    authentication: bool = False


class KeyMade(Answer, frozen=True):
    """A key, and its secret, which nobody can show again."""

    key: ApiKey
    secret: str


class ModelMoved(Answer, frozen=True):
    """A model is in ``project`` now, and so are the ``endpoints`` that it is deployed to."""

    model: str
    project: str
    endpoints: tuple[str, ...] = ()


class PlatformInfo(Answer, frozen=True):
    """The platform as a whole. ``database`` is which one it uses (without a password), ``homes`` are those that
    share it, this one (``id``) among them."""

    version: str
    control: ProgramInfo
    node: ProgramInfo
    endpoints: int = 0
    models: int = 0
    home: str = ""
    authentication: bool = False
    memory_bytes: int | None = None
    database: str = ""
    id: str | None = None
    homes: tuple[HomeInfo, ...] = ()


def decode(body: bytes, type: type[T]) -> T:
    """``body`` as ``type``. Raises Internal when the other side is no Modelyard that we understand."""
    try:
        return msgspec.json.decode(body, type=type)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Internal(
            f"The platform's answer is not understood ({error}); is it a Modelyard of another version?"
        ) from error


class _ErrorBody(Answer, frozen=True):
    error: str
    code: str = "internal"
    field: str | None = None
    retryable: bool = False
    request_id: Annotated[str | None, msgspec.Meta(description="for the platform's logs")] = None


def error_of(status: int, headers: dict[str, str], body: bytes) -> ModelyardError:
    """The error that an answer of ``status`` >= 400 brings, as the class of core that was raised there."""
    retry_after = _seconds(headers.get("retry-after"))
    try:
        told = msgspec.json.decode(body, type=_ErrorBody)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        code = next((code for code, kind in ERROR_KINDS.items() if kind.http == status), "internal")
        text = body[:300].decode(errors="replace").strip()
        return rebuild(
            code, f"The server answered {status}" + (f": {text}" if text else "."), None, retry_after
        )
    return rebuild(told.code, told.error, told.field, retry_after)


def rebuild(
    code: str, message: str, field: str | None = None, retry_after: float | None = None
) -> ModelyardError:
    """The error of ``code`` as its own class, so that ``except Overloaded`` works across the wire."""
    for kind in ModelyardError.__subclasses__():
        if kind.code == code:
            return kind(message, field=field, retry_after=retry_after)
    return Internal(message, field=field, retry_after=retry_after)


def _seconds(text: str | None) -> float | None:
    try:
        return max(0.0, float(text)) if text else None
    except ValueError:
        return None  # an HTTP date: no server of ours sends one
