"""The options of a deployment: as a program or a command line gives them, and as people read them."""

import difflib
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypedDict

from modelyard.core.deployment import DeploymentSettings, Scaling
from modelyard.core.errors import InvalidInput
from modelyard.core.python import python_versions
from modelyard.core.units import format_bytes, format_seconds

Device = Literal["auto", "cpu", "cuda"]
_RESOURCES = ("memory", "threads", "device")
_OF_ALL = ("replicas", "python")
_SCALING = ("min_replicas", "idle_timeout")
_LEAVE = ("network", "folders")
_MAY_BE_ZERO = ("max_wait", "cache", *_SCALING)


class Options(TypedDict, total=False):
    """What may be given; what is not (or None) stays as the endpoint has it, or is the default.

    ``python``: the versions of Python that its environment may have (``>=3.9,<3.11``, ``3.10``).
    ``replicas``: how many copies. ``min_replicas``: with 1 or more the model is always in memory;
    ``idle_timeout``: seconds without a call after which it sleeps (0: only when others need its memory). Of
    each copy: ``memory`` in bytes, ``threads`` for computing, ``device``.
    ``max_batch``: most rows computed together; ``max_cost``: their padded cost at most, in the adapter's
    unit; ``max_wait``: seconds that a call may wait for mates although a copy is idle;
    ``latency_target``: seconds that a batch may compute; ``max_queue``: most calls that wait;
    ``timeout``: seconds of one call, ``job_timeout`` of one whose caller does not wait; ``cache``: bytes of answers kept (0: none), each for ``cache_ttl``
    seconds; ``fallback``: the endpoint that answers when this one cannot. ``network``: whether
    the model may use it (not given: as its model.yaml says); ``folders``: absolute paths that it may read, and
    write where ``:rw`` follows.
    """

    python: str | None
    replicas: int | None
    min_replicas: int | None
    idle_timeout: float | None
    memory: int | None
    threads: int | None
    device: Device | None
    max_batch: int | None
    max_cost: int | None
    max_wait: float | None
    latency_target: float | None
    max_queue: int | None
    timeout: float | None
    job_timeout: float | None
    cache: int | None
    cache_ttl: float | None
    fallback: str | None
    network: bool | None
    folders: Sequence[str] | None


def settings_of(options: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a deployment's settings that ``options`` (see :class:`Options`) give.

    Raises InvalidInput for an option that there is not, and for a number that cannot be.
    """
    given: dict[str, Any] = {}
    for name, value in options.items():
        if name not in Options.__annotations__:
            near = difflib.get_close_matches(name, Options.__annotations__, 1)
            meant = f"did you mean {near[0]!r}? " if near else ""
            known = ", ".join(Options.__annotations__)
            raise InvalidInput(
                f"There is no option {name!r}; {meant}Those of a deployment are: {known}.", field=name
            )
        if value is None:
            continue
        if name == "folders":
            given.setdefault("leave", {})[name] = [str(folder) for folder in value]
            continue
        if (
            isinstance(value, int | float)
            and name not in _LEAVE
            and not (value > 0 or (value == 0 and name in _MAY_BE_ZERO))
        ):
            least = "0 or more" if name in _MAY_BE_ZERO else "more than 0"
            raise InvalidInput(f"{name} must be {least}, not {value}.", field=name)
        if name == "python":
            python_versions(str(value))
        if name in _OF_ALL:
            given[name] = value
        else:
            parts = {"resources": _RESOURCES, "scaling": _SCALING, "leave": _LEAVE}
            part = next((part for part, names in parts.items() if name in names), "serving")
            given.setdefault(part, {})[name] = value
    return given


def describe(settings: DeploymentSettings) -> list[tuple[str, str]]:
    """Every option by its name, as people read it."""
    resources, scaling, serving = settings.resources, settings.scaling, settings.serving
    return [
        ("replicas", str(settings.replicas)),
        ("python", settings.python or "as the model's files say"),
        ("sleeps", _when_it_sleeps(scaling)),
        ("device", resources.device),
        ("memory", format_bytes(resources.memory) if resources.memory is not None else "no limit"),
        ("threads", str(resources.threads) if resources.threads is not None else "cores shared out"),
        ("max batch", f"{serving.max_batch} rows"),
        ("max cost", f"{serving.max_cost} padded" if serving.max_cost is not None else "no limit"),
        ("max wait", format_seconds(serving.max_wait) if serving.max_wait else "none"),
        (
            "latency target",
            format_seconds(serving.latency_target) if serving.latency_target is not None else "none",
        ),
        ("max queue", f"{serving.max_queue} calls"),
        ("timeout", f"{format_seconds(serving.timeout)}, of a job {format_seconds(serving.job_timeout)}"),
        (
            "cache",
            f"{format_bytes(serving.cache)}, each answer for {format_seconds(serving.cache_ttl)}"
            if serving.cache
            else "off",
        ),
        ("fallback", serving.fallback or "none"),
        ("network", {None: "as its model.yaml says", True: "yes", False: "no"}[settings.leave.network]),
        ("folders", ", ".join(settings.leave.folders) or "its own"),
    ]


def _when_it_sleeps(scaling: Scaling) -> str:
    if scaling.min_replicas:
        return "never"
    when = "when others need its memory"
    if scaling.idle_timeout:
        return f"after {format_seconds(scaling.idle_timeout)} without a call, or {when}"
    return when
