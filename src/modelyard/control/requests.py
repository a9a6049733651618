"""What clients may send: pydantic models that refuse unknown keys and never convert types."""

from typing import Annotated, Any, Literal

import msgspec
from pydantic import BaseModel, ConfigDict, Field

from modelyard.core.access import Role
from modelyard.core.card import Card, check_card
from modelyard.core.listing import MOST, Sort, Status, Wanted
from modelyard.core.manifest import FileEntry
from modelyard.core.model import Relation
from modelyard.core.provenance import Source, cleaned
from modelyard.core.remotes import MAX_REMOTES, MAX_WEIGHT, RemoteRoute
from modelyard.core.routes import Remote, RetryOptions

NAME_PATTERN = r"^[a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?$"
DIGEST_PATTERN = r"^[0-9a-f]{64}$"
ID_PATTERN = r"^[A-Za-z0-9_-]{1,64}$"
LARGEST = 2**53 - 1  # the largest integer that every JSON reader keeps exact

NameField = Annotated[str, Field(pattern=NAME_PATTERN, description="lower-case letters, digits, - _ .")]
IdField = Annotated[str, Field(pattern=ID_PATTERN)]
VersionField = Annotated[int, Field(ge=1, le=2**31 - 1)]
WordField = Annotated[str, Field(pattern=r"^[a-z0-9](?:[a-z0-9._+-]{0,62}[a-z0-9+])?$")]
WhyField = Annotated[str, Field(max_length=2000, pattern=r"^[^\x00]*$")]
FactField = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f]+$")]
CountField = Annotated[int, Field(ge=0, le=LARGEST)]


Bundle = Annotated[str, Field(min_length=2, max_length=4_000_000)]
Because = Annotated[str, Field(max_length=2000, description="why it is trusted")]


class Strict(BaseModel):
    """Base of every request body."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class FileRequest(Strict):
    """One file that will be uploaded: relative path, size in bytes, SHA-256 in hex."""

    path: Annotated[str, Field(min_length=1, max_length=1024)]
    size: Annotated[int, Field(ge=0, le=LARGEST)]
    sha256: Annotated[str, Field(pattern=DIGEST_PATTERN)]


class UploadRequest(Strict):
    """The files of a model, before their bytes."""

    files: Annotated[list[FileRequest], Field(min_length=1, max_length=10_000)]

    def entries(self) -> list[FileEntry]:
        """As nouns of core."""
        return [FileEntry(path=file.path, size=file.size, sha256=file.sha256) for file in self.files]


class MetricsRequest(Strict):
    """A table of figures: a cell for each column in every row; where they are from."""

    title: Annotated[str, Field(max_length=500)]
    columns: Annotated[list[Annotated[str, Field(max_length=500)]], Field(min_length=1, max_length=30)]
    rows: Annotated[list[list[str | int | float | None]], Field(max_length=500)] = []
    source: Annotated[str, Field(max_length=500)] = ""


class CardRequest(Strict):
    """What a card says; what is left out stays as it is, null says that it is not known. ``text`` is Markdown (null: the
    README of each version), ``licence`` an SPDX identifier."""

    title: Annotated[str, Field(max_length=200)] = ""
    summary: Annotated[str, Field(max_length=2000)] = ""
    text: Annotated[str, Field(max_length=256 * 1024)] | None = None
    task: WordField | None = None
    category: WordField | None = None
    architecture: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    licence: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    commercial: bool | None = None
    paper: Annotated[str, Field(min_length=1, max_length=2000)] | None = None
    homepage: Annotated[str, Field(min_length=1, max_length=2000)] | None = None
    tags: Annotated[list[WordField], Field(max_length=100)] = []
    metrics: Annotated[list[MetricsRequest], Field(max_length=50)] = []

    def given(self) -> dict[str, Any]:
        """What the request says, without the defaults."""
        return self.model_dump(exclude_unset=True)

    def card(self) -> Card:
        """As a noun of core. Raises InvalidInput."""
        return check_card(msgspec.convert(self.model_dump(), Card))


class CardChange(CardRequest):
    """A change of a card, and why."""

    because: WhyField = ""

    def given(self) -> dict[str, Any]:
        return self.model_dump(exclude_unset=True, exclude={"because"})


class ProjectRequest(Strict):
    """Make a project."""

    name: NameField
    because: WhyField = ""


class ProjectMove(Strict):
    """Move a model to a project."""

    project: NameField
    because: WhyField = ""


class KeyRequest(Strict):
    """Make a key: with ``admin`` one that may everything, else one of ``project`` with a ``role`` (a viewer, where none
    is said; a *caller* predicts and nothing else, on ``endpoints`` where they are named). ``expires_in`` is seconds."""

    name: NameField
    project: NameField | None = None
    role: Role | None = None
    endpoints: Annotated[list[NameField], Field(max_length=1000)] = []
    expires_in: Annotated[float, Field(gt=0, le=100 * 365 * 86400)] | None = None
    admin: bool = False


class KeyRotation(Strict):
    """Another secret; with ``expires_in`` (seconds) another end, else the one that it had."""

    expires_in: Annotated[float, Field(gt=0, le=100 * 365 * 86400)] | None = None


class WhyRequest(Strict):
    """Why it is done, for the history."""

    because: WhyField = ""


class AliasRequest(Strict):
    """Point an alias at a version (its number, another alias, or latest). With ``expected`` only while it points at that
    number; 0: while there is no such alias."""

    version: VersionField | NameField
    because: WhyField = ""
    expected: Annotated[int, Field(ge=0, le=2**31 - 1)] | None = None


class ParentRequest(Strict):
    """What a version was made from, how, and what that changed: figures of both by name."""

    model: NameField
    version: VersionField | NameField
    relation: Relation
    tradeoff: dict[str, Any] | None = None
    because: WhyField = ""


class SearchQuery(BaseModel):
    """What is searched for, in a query; see ``core/listing.py``."""

    model_config = ConfigDict(extra="forbid")

    name: (
        Annotated[str, Field(max_length=64, pattern=r"^[a-z0-9._-]*\*?$", description="fraud, or fraud*")]
        | None
    ) = None
    text: Annotated[str, Field(max_length=500)] | None = None
    task: WordField | None = None
    category: WordField | None = None
    architecture: FactField | None = None
    licence: FactField | None = None
    commercial: bool | None = None
    format: FactField | None = None
    adapter: FactField | None = None
    precision: FactField | None = None
    tag: Annotated[list[WordField], Field(max_length=20)] = []
    metric: Annotated[
        list[
            Annotated[
                str, Field(min_length=1, max_length=500, description="auc>=0.9, accuracy[mnli]>0.8, or auc")
            ]
        ],
        Field(max_length=10),
    ] = []
    alias: NameField | None = None
    min_size: CountField | None = None
    max_size: CountField | None = None
    min_parameters: CountField | None = None
    max_parameters: CountField | None = None
    status: Status | None = None
    project: NameField | None = None
    all_versions: bool = False
    sort: Sort = "newest"
    limit: Annotated[int, Field(ge=1, le=MOST)] = 50
    cursor: Annotated[str, Field(max_length=1000)] | None = None

    def wanted(self) -> Wanted:
        """As a noun of core."""
        told = self.model_dump(exclude={"limit", "cursor", "tag", "metric"})
        return Wanted(**told, tags=tuple(self.tag), metrics=tuple(self.metric))


class SourceRequest(Strict):
    """Where files came from, as far as who sends them knows. Secrets in addresses are taken out."""

    kind: Literal[
        "path", "object", "hub", "git", "url", "package", "catalog", "added", "mirror", "mlflow", "upload"
    ]
    name: Annotated[str, Field(max_length=2048)] = ""
    revision: Annotated[str, Field(max_length=250)] | None = None
    sha256: Annotated[str, Field(pattern=DIGEST_PATTERN)] | None = None
    of: "SourceRequest | None" = None

    def source(self) -> Source:
        """As a noun of core. Raises InvalidInput."""
        return cleaned(msgspec.convert(self.model_dump(), Source))


class ProvenanceRequest(Strict):
    """Where an upload came from; who and with what program, as the client says."""

    source: SourceRequest
    user: Annotated[str, Field(max_length=200)] = ""
    client: Annotated[str, Field(max_length=200)] = ""


class VersionRequest(Strict):
    """Make a version of a complete upload; ``card`` fills what the model's card does not say yet. ``because``: why it
    is trusted. ``bundle``: the signature of its files (JSON text), as model-signing writes it."""

    upload: IdField
    trust_pickle: bool = False
    because: Because = ""
    card: CardRequest | None = None
    provenance: ProvenanceRequest | None = None
    bundle: Bundle | None = None


class ScanRequest(Strict):
    """Scan a version: what was not looked at by the present scanners, or with ``again`` everything."""

    again: bool = False


class SignatureRequest(Strict):
    """A file signature: the bundle (JSON text) that model-signing writes."""

    bundle: Bundle


class ResourcesRequest(Strict):
    """What one replica may take: memory in bytes, threads for computing, the device."""

    memory: Annotated[int, Field(ge=1024 * 1024, le=LARGEST)] | None = None
    threads: Annotated[int, Field(ge=1, le=1024)] | None = None
    device: Literal["auto", "cpu", "cuda"] = "auto"


class ServingRequest(Strict):
    """How calls are queued, batched, cached and saved. Times in seconds, ``cache`` in bytes,
    ``max_cost`` in the unit of the model's adapter (rows, tokens, residues)."""

    max_batch: Annotated[int, Field(ge=1, le=65536)] = 1024
    max_cost: Annotated[int, Field(ge=1, le=LARGEST)] | None = None
    max_wait: Annotated[float, Field(ge=0, le=60)] = 0.0
    latency_target: Annotated[float, Field(gt=0, le=3600)] | None = None
    max_queue: Annotated[int, Field(ge=1, le=1_000_000)] = 1024
    timeout: Annotated[float, Field(gt=0, le=86400)] = 30.0
    job_timeout: Annotated[float, Field(gt=0, le=30 * 86400)] = 6 * 3600.0
    cache: Annotated[int, Field(ge=0, le=LARGEST)] = 0
    cache_ttl: Annotated[float, Field(gt=0, le=365 * 86400)] = 300.0
    fallback: Annotated[str, Field(pattern=NAME_PATTERN, description="another endpoint")] | None = None


class ScalingRequest(Strict):
    """When it is in memory: with a minimum of replicas above 0 always, else while it is called; seconds
    without a call after which it sleeps (0: only when others need its memory)."""

    min_replicas: Annotated[int, Field(ge=0, le=256)] = 0
    idle_timeout: Annotated[float, Field(ge=0, le=365 * 86400)] = 0.0


class LeaveRequest(Strict):
    """What the model may touch beside what every model may: the network (left out: as its model.yaml says), and
    folders by their absolute paths, to be written too where ``:rw`` follows."""

    network: bool | None = None
    folders: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=4096)]], Field(max_length=64)
    ] = []


class SettingsRequest(Strict):
    """Everything that can be set on a deployment. What is left out is as the endpoint has it now; in an
    endpoint's first deployment, or with ``reset``, it is the default. ``python``: the versions that its
    environment may have."""

    python: Annotated[str, Field(max_length=200, description=">=3.9,<3.11, or 3.10")] | None = None
    replicas: Annotated[int, Field(ge=1, le=256)] = 1
    resources: ResourcesRequest = ResourcesRequest()
    scaling: ScalingRequest = ScalingRequest()
    serving: ServingRequest = ServingRequest()
    leave: LeaveRequest = LeaveRequest()
    target: Annotated[str, Field(pattern="^local$")] = "local"

    def given(self) -> dict[str, Any]:
        """What the request says, without the defaults."""
        return self.model_dump(exclude_unset=True)


class CleanRequest(Strict):
    """Remove what nothing uses and nobody asked for within ``older_than`` seconds (null: the setting
    ``environment_grace``); with ``dry_run`` only say which."""

    older_than: Annotated[float, Field(ge=0, le=100 * 365 * 86400)] | None = None
    dry_run: bool = False


class StoreCheckRequest(Strict):
    """Look at the blobs behind the digest ``after`` for so many ``seconds``; ``deep``: read every byte; ``repair``:
    put right what can be."""

    deep: bool = False
    repair: bool = False
    after: Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")] = ""
    seconds: Annotated[float, Field(ge=0, le=60)] = 5.0


class StoreCollectRequest(Strict):
    """Nothing can be chosen yet."""


class DeploymentRequest(Strict):
    """Deploy an upload, or a version that is there: its number, an alias, or the latest of the model when neither is
    given. ``card`` fills what the model's card does not say yet.

    ``model`` is the endpoint's name when it is not given. ``reset``: begin from the defaults instead of
    the options that the endpoint has.
    """

    endpoint: NameField
    upload: IdField | None = None
    model: NameField | None = None
    version: VersionField | NameField | None = None
    trust_pickle: bool = False
    card: CardRequest | None = None
    provenance: ProvenanceRequest | None = None
    because: Because = ""
    bundle: Bundle | None = None
    settings: SettingsRequest = SettingsRequest()
    reset: bool = False


class RemoteRequest(Strict):
    """One remote: its base URL (http, https, or unix:/path of a node's socket here), the model's name there,
    its share of the traffic, and the environment variable of the node that holds its key."""

    url: Annotated[str, Field(min_length=1, max_length=2048)]
    model: Annotated[str, Field(min_length=1, max_length=255)]
    kind: Literal["v2", "openai"] = "v2"
    weight: Annotated[float, Field(ge=0, le=MAX_WEIGHT)] = 1.0
    key_variable: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,127}$")] | None = None

    def remote(self) -> Remote:
        """As a noun of core."""
        return Remote(**self.model_dump())


class RetryRequest(Strict):
    """Calls to remotes: attempts in all, retries as a part of the calls, seconds after which a second
    backend is asked too."""

    attempts: Annotated[int, Field(ge=1, le=10)] = 3
    budget: Annotated[float, Field(ge=0, le=1)] = 0.2
    hedge: Annotated[float, Field(ge=0, le=3600)] | None = None


class RemotesRequest(Strict):
    """All remotes of an endpoint. ``weight`` is the share of its deployment beside theirs."""

    remotes: Annotated[list[RemoteRequest], Field(min_length=1, max_length=MAX_REMOTES)]
    weight: Annotated[float, Field(ge=0, le=MAX_WEIGHT)] = 1.0
    retry: RetryRequest = RetryRequest()

    def route(self, endpoint: str) -> RemoteRoute:
        """As a noun of core."""
        return RemoteRoute(
            endpoint=endpoint,
            remotes=tuple(each.remote() for each in self.remotes),
            weight=self.weight,
            retry=RetryOptions(**self.retry.model_dump()),
        )


class RemotesChange(Strict):
    """Other options of an endpoint's remotes; what is left out stays."""

    weight: Annotated[float, Field(ge=0, le=MAX_WEIGHT)] | None = None
    retry: RetryRequest = RetryRequest()
