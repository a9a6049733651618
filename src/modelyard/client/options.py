"""The options of a deployment as a program or a command line gives them: None means the default."""

from typing import Any

from modelyard.core.deployment import DeploymentSettings, Resources, ServingOptions
from modelyard.core.errors import InvalidInput


def deployment_settings(
    replicas: int = 1,
    memory: int | None = None,
    threads: int | None = None,
    max_batch: int | None = None,
    max_queue: int | None = None,
    timeout: float | None = None,
) -> DeploymentSettings:
    """Settings with only the given ones changed. Raises InvalidInput for a number that cannot be."""
    given: dict[str, Any] = {"max_batch": max_batch, "max_queue": max_queue, "timeout": timeout}
    counts: dict[str, float | None] = {"replicas": replicas, "memory": memory, "threads": threads, **given}
    for name, value in counts.items():
        if value is not None and not value > 0:
            raise InvalidInput(f"{name} must be more than 0, not {value}.", field=name)
    return DeploymentSettings(
        replicas=replicas,
        resources=Resources(memory=memory, threads=threads),
        serving=ServingOptions(**{name: value for name, value in given.items() if value is not None}),
    )
