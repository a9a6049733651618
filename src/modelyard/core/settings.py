"""Where Modelyard lives and how it is set: ``modelyard.toml``, then ``MODELYARD_*``, then flags.

This is the one file of core that reads from outside, because every program of ours (control plane,
node, command line, client) needs the same answer before it can do anything.
"""

import os
import re
import tomllib
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from modelyard.core.errors import InvalidInput
from modelyard.core.signing import SignaturePolicy
from modelyard.core.struct import Noun
from modelyard.core.units import format_bytes, parse_bytes

LEAST_MEMORY = 128 * 2**20  # the node's own process, and something to compute in
Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]


class Settings(Noun):
    """Every setting. Sizes in bytes, times in seconds; a port of 0 takes a free one.

    ``authentication`` makes both addresses ask for an API key; without it they must be loopback.
    With ``open_metrics`` the node's ``/metrics`` asks for none all the same, and names every endpoint.
    ``node_processes`` above 1 has that many processes share the node's port. ``cors_origins`` is a
    comma-separated list of origins whose pages may call (``*``: all). ``redis_url`` names the second level
    of the cache, which may cost a call ``redis_budget`` at most; ``otlp_endpoint`` the collector that spans
    are sent to, of ``trace_ratio`` of the requests that come without a trace (0 to 1).
    ``job_expiry`` is how long the answer of a job is kept.
    ``memory`` is what the node and all of its models may take together (bytes, or a size such as "8GiB";
    None: four fifths of the machine's). ``device_memory`` is the same for accelerators: a size for each, or one for some
    by name, as :func:`device_budgets` reads it (None: 92 % of what the driver says that each has).
    ``database`` is the URL of a server that homes share (``postgresql://user:password@host/name``; None: a file in
    the home); a home of a shared one that says nothing for ``takeover_after`` seconds is gone: the others take over
    its jobs.
    ``mirror`` is a folder (``s3://bucket/prefix``, ``https://…``) with the files of catalog entries, one folder
    each, that is looked into before anything is fetched.
    ``blobs`` is a bucket (``s3://bucket/prefix``, ``gs://…``, ``az://…``) for the bytes of models, of which then only
    a cache is in the home; ``blob_cache`` is what that cache may take (bytes, or a size), in a home without a bucket
    the files put together of pieces. ``cold_after`` is after how long without use a model's bytes are kept as small
    as they get (0: never). ``scrub_after`` is after how long the bytes of all models are read and compared again
    (0: never), ``scrub_rate`` how many of them a second (bytes, or a size).
    ``environment_grace`` is how long an environment is kept that nothing uses any more; ``python_downloads``
    has uv install a Python that a model asks for and this machine has not got.
    ``version_grace`` is how long a version that was deleted can be restored.
    ``confine`` says whether models are kept from files and the network: "auto" as far as this machine can, and what
    trust let in not at all where it cannot, "required" refuses to start what cannot be, "off" keeps nothing.
    ``project`` is the one that the command line works in, where none is named there.
    ``signatures`` says what becomes of models without a valid file signature: "off" nothing, "told" it is said,
    "required" they are refused; ``signature_keys`` are files of public keys (PEM), separated by commas.
    ``clamav`` is the address of a ClamAV daemon that looks at every file (``unix:/run/clamav/clamd.ctl``,
    ``tcp:host:3310``); with ``clamav_required`` nothing is deployed that it has not looked at. ``scan_policy`` says what
    becomes of endpoints whose version is found to be bad later: "tell" says so, "stop" takes them out of service.
    With ``trust_reason`` nobody may trust what runs code without saying why.
    """

    home: str
    control_host: str = "127.0.0.1"
    control_port: Port = 8700
    node_host: str = "127.0.0.1"
    node_port: Port = 8701
    grpc_port: Port = 8702
    node_processes: Annotated[int, msgspec.Meta(ge=1, le=256)] = 1
    cors_origins: str = ""
    redis_url: str | None = None
    redis_budget: Annotated[float, msgspec.Meta(gt=0)] = 0.02
    otlp_endpoint: str | None = None
    trace_ratio: Annotated[float, msgspec.Meta(ge=0, le=1)] = 1.0
    authentication: bool = False
    open_metrics: bool = False
    max_body: Annotated[int, msgspec.Meta(gt=0)] = 16 * 1024 * 1024
    upload_expiry: Annotated[float, msgspec.Meta(gt=0)] = 24 * 3600.0
    job_expiry: Annotated[float, msgspec.Meta(gt=0)] = 24 * 3600.0
    log_level: str = "info"
    memory: int | str | None = None
    device_memory: int | str | None = None
    confine: Literal["auto", "required", "off"] = "auto"
    database: str | None = None
    takeover_after: Annotated[float, msgspec.Meta(ge=1)] = 30.0
    clamav: str | None = None
    clamav_required: bool = False
    scan_policy: Literal["tell", "stop"] = "tell"
    trust_reason: bool = False
    mirror: str | None = None
    blobs: str | None = None
    blob_cache: int | str = 64 * 1024**3
    cold_after: Annotated[float, msgspec.Meta(ge=0)] = 30 * 24 * 3600.0
    scrub_after: Annotated[float, msgspec.Meta(ge=0)] = 30 * 24 * 3600.0
    scrub_rate: int | str = 8 * 1024**2
    environment_grace: Annotated[float, msgspec.Meta(ge=0)] = 24 * 3600.0
    version_grace: Annotated[float, msgspec.Meta(ge=0)] = 7 * 24 * 3600.0
    python_downloads: bool = False
    project: str | None = None
    signatures: SignaturePolicy = "off"
    signature_keys: str | None = None

    def __post_init__(self) -> None:
        if self.database is not None and not re.match(r"postgres(ql)?(\+psycopg)?://", self.database):
            raise ValueError(
                "database is no URL such as postgresql://user:password@host/modelyard; leave it out for a file in the home"
            )
        if self.device_memory is not None:
            try:
                device_budgets(self.device_memory)
            except InvalidInput as error:
                raise ValueError(error.message) from None
        try:
            cache = parse_bytes(str(self.blob_cache), field="blob_cache")
            rate = parse_bytes(str(self.scrub_rate), field="scrub_rate")
        except InvalidInput as error:
            raise ValueError(error.message) from None
        if rate < 1:
            raise ValueError("scrub_rate is no bytes a second; to read nothing again, set scrub_after to 0")
        msgspec.structs.force_setattr(self, "blob_cache", cache)
        msgspec.structs.force_setattr(self, "scrub_rate", rate)
        if self.clamav is not None and not re.fullmatch(r"unix:/.+|tcp:[^:/]+:\d{1,5}", self.clamav):
            raise ValueError(f"clamav is {self.clamav!r}; write unix:/PATH or tcp:HOST:PORT")
        if self.clamav_required and self.clamav is None:
            raise ValueError("clamav_required is set, and clamav says no address")
        if self.memory is None:
            return
        try:
            size = parse_bytes(str(self.memory), field="memory")
        except InvalidInput as error:
            raise ValueError(error.message) from None
        if size < LEAST_MEMORY:
            raise ValueError(f"memory is {self.memory}; a node needs {format_bytes(LEAST_MEMORY)} at least")
        msgspec.structs.force_setattr(self, "memory", size)


def device_budgets(told: int | str) -> int | dict[str, int]:
    """What ``device_memory`` says: bytes of each device ("80GiB"), or of some by name
    ("cuda:0=40GiB,cuda:1=20GiB"; of those that are not named, as if nothing had been said).

    Raises InvalidInput for what is neither, a name twice, or no bytes at all.
    """
    field = "device_memory"
    if "=" not in str(told):
        size = parse_bytes(str(told), field=field)
        if size < 1:
            raise InvalidInput("The memory of a device is to be more than nothing.", field=field)
        return size
    found: dict[str, int] = {}
    for part in str(told).split(","):
        name, _, size = (piece.strip() for piece in part.partition("="))
        if not re.fullmatch(r"(cuda|cpu):[\w-]+", name) or name in found:
            raise InvalidInput(
                f"{part.strip()!r} of device_memory names no device, or one again; write 80GiB for each device, or "
                "cuda:0=40GiB,cuda:1=20GiB.",
                field=field,
            )
        found[name] = parse_bytes(size, field=field)
        if found[name] < 1:
            raise InvalidInput(f"The memory of {name} is to be more than nothing.", field=field)
    return found


class Home:
    """The folders and files under ``MODELYARD_HOME``: names only, nothing is created here."""

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        self.database = self.root / "modelyard.db"
        self.blobs = self.root / "blobs"
        self.environments = self.root / "environments"
        self.versions = self.root / "versions"  # files of a version, laid out for its executors
        self.jobs = self.root / "jobs"  # predictions that nobody waits for, and their answers
        self.id = self.root / "id"  # which home this is, where several share a database
        self.run = self.root / "run"  # process ids, locks, the kept table of routes, addresses
        self.logs = self.root / "logs"
        self.key = self.root / "key"  # the API key made at first start, mode 0600
        self.node_key = self.root / "run" / "node.key"  # what control plane and node share, 0600
        self.routes = self.root / "run" / "routes.json"
        self.config = self.root / "modelyard.toml"

    def address(self, program: str) -> Path:
        """The file in which ``program`` ("control", "node"; "grpc" for the node's port of gRPC) writes its URL once it listens."""
        return self.run / f"{program}.url"


def load_settings(**flags: object) -> Settings:
    """Read all three sources. Flags that are None are not set.

    Raises InvalidInput naming the source for an unknown or ill-typed setting.
    """
    home = str(flags.get("home") or os.environ.get("MODELYARD_HOME") or Path.home() / ".modelyard")
    values: dict[str, object] = {}
    config = Home(home).config
    if config.is_file():
        try:
            values |= tomllib.loads(config.read_text())
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise InvalidInput(f"{config} is not valid TOML: {error}.", field=str(config)) from error
    _convert(values | {"home": home}, source=str(config))
    # Vertex AI tells a container its port by this name; a variable of ours comes before it.
    if os.environ.get("AIP_HTTP_PORT"):
        values["node_port"] = os.environ["AIP_HTTP_PORT"]
    known = {name.upper(): name for name in Settings.__struct_fields__}
    for variable, value in os.environ.items():
        if not variable.startswith("MODELYARD_") or variable in ENVIRONMENT_ELSEWHERE:
            continue
        if variable.removeprefix("MODELYARD_") not in known:
            raise InvalidInput(
                f"{variable} is not a setting of Modelyard; known: "
                + ", ".join(f"MODELYARD_{name}" for name in sorted(known)) + ".",
                field=variable,
            )  # fmt: skip
        values[known[variable.removeprefix("MODELYARD_")]] = value
    _convert(values | {"home": home}, source="the environment (MODELYARD_*, AIP_HTTP_PORT)")
    values |= {name: value for name, value in flags.items() if value is not None}
    return _convert(values | {"home": str(Path(home).expanduser().absolute())}, source="the command line")


# Variables with our prefix that are read by one program only and are not settings.
ENVIRONMENT_ELSEWHERE = frozenset({"MODELYARD_URL", "MODELYARD_API_KEY", "MODELYARD_DEVICES"})


def _convert(values: dict[str, object], *, source: str) -> Settings:
    try:
        return msgspec.convert(values, Settings, strict=False)
    except msgspec.ValidationError as error:
        raise InvalidInput(f"A setting from {source} is wrong: {error}.", field=source) from error
