"""Endpoint and Deployment: what clients call, and one immutable revision of it."""

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from modelyard.core.errors import InvalidInput
from modelyard.core.python import python_versions
from modelyard.core.struct import Noun

DeploymentState = Literal["pending", "starting", "ready", "failed", "retired"]


class Resources(Noun):
    """What one replica may take. ``memory`` in bytes (None: no limit); ``threads`` for computing (None:
    the machine's cores shared out). ``device``: "auto" takes accelerators where there are any."""

    memory: int | None = None
    threads: int | None = None
    device: Literal["auto", "cpu", "cuda"] = "auto"


class Leave(Noun):
    """What a model may touch beside what every model may. ``network``: whether it may use the network (None: as
    its model.yaml says). ``folders``: absolute paths that it may read, and write where ``:rw`` follows."""

    network: bool | None = None
    folders: tuple[str, ...] = ()


class ServingOptions(Noun):
    """How calls are queued, batched, cached and saved. Times in seconds.

    ``max_batch`` bounds the rows computed together, ``max_cost`` their padded cost in the adapter's unit
    (tokens, residues); within both the node finds the batch that does most useful work a second, and with
    ``latency_target`` one that computes no longer than that. ``max_wait`` is how long a call may wait for
    mates although a replica is idle. ``max_queue`` bounds the calls that wait, ``timeout`` the time of
    one call from arrival, ``job_timeout`` that of a call whose caller does not wait for it (a job's). ``cache`` is bytes of answers kept in memory (0: none), each for ``cache_ttl``;
    ``fallback`` names the endpoint that answers when this one cannot.
    """

    max_batch: int = 1024
    max_cost: int | None = None
    max_wait: float = 0.0
    latency_target: float | None = None
    max_queue: int = 1024
    timeout: float = 30.0
    job_timeout: float = 6 * 3600.0
    cache: int = 0
    cache_ttl: float = 300.0
    fallback: str | None = None


class Scaling(Noun):
    """When a deployment is in memory. With ``min_replicas`` above 0 always; with 0 it sleeps when others
    need its memory, or after ``idle_timeout`` seconds without a call (0: never for that alone), and the
    next call wakes it."""

    min_replicas: int = 0
    idle_timeout: float = 0.0


class DeploymentSettings(Noun):
    """Everything that a user may set on a deployment. A change makes a new revision. ``python``: the versions
    of Python that its environment may have, beside what the model's files say of it (see ``core/python.py``)."""

    replicas: int = 1
    python: str | None = None
    resources: Resources = Resources()
    scaling: Scaling = Scaling()
    serving: ServingOptions = ServingOptions()
    leave: Leave = Leave()
    target: Literal["local"] = "local"

    def changed(self, given: Mapping[str, object]) -> "DeploymentSettings":
        """These with what is given in their place: a part of the JSON form, such as
        ``{"serving": {"max_batch": 8}}``. Raises InvalidInput for an unknown name or a wrong type."""
        told: dict[str, Any] = msgspec.to_builtins(self)
        for name, value in given.items():
            known = told.get(name)
            told[name] = known | value if isinstance(known, dict) and isinstance(value, dict) else value
        try:
            changed = msgspec.convert(told, DeploymentSettings)
        except msgspec.ValidationError as error:
            raise InvalidInput(
                f"These options of a deployment cannot be: {error}.", field="settings"
            ) from error
        if changed.python is not None:
            python_versions(changed.python, field="settings.python")
        return changed


class Deployment(Noun):
    """One revision of an endpoint. ``reason`` says why a failed one failed, and of one that serves what is other than it
    was when it was deployed."""

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
    ``wanted`` the one that is to have it (they differ while a replacement is on its way). ``home`` is
    the home that serves it, where several share a database."""

    name: str
    wanted: str
    serving: str | None = None
    created: float = 0.0
    home: str | None = None
    project: str = "default"
