"""Endpoint and Deployment: what clients call, and one immutable revision of it."""

from typing import Literal

from modelyard.core.struct import Noun

DeploymentState = Literal["pending", "starting", "ready", "failed", "retired"]


class Resources(Noun):
    """Limits of one replica. ``memory`` in bytes (None: no limit); ``threads`` for computing."""

    memory: int | None = None
    threads: int | None = None


class ServingOptions(Noun):
    """How calls are queued and batched. ``timeout`` in seconds, from arrival, per call."""

    max_batch: int = 32
    max_queue: int = 1024
    timeout: float = 30.0


class DeploymentSettings(Noun):
    """Everything that a user may set on a deployment. A change makes a new revision."""

    replicas: int = 1
    resources: Resources = Resources()
    serving: ServingOptions = ServingOptions()
    target: Literal["local"] = "local"


class Deployment(Noun):
    """One revision of an endpoint. ``reason`` says why a failed one failed."""

    id: str
    endpoint: str
    revision: int
    model: str
    version: int
    settings: DeploymentSettings
    state: DeploymentState
    environment: str | None = None
    reason: str | None = None
    created: float = 0.0


class Endpoint(Noun):
    """A stable name that clients call. ``serving`` is the deployment that has the traffic;
    ``wanted`` the one that is to have it (they differ while a replacement is on its way)."""

    name: str
    wanted: str
    serving: str | None = None
    created: float = 0.0
