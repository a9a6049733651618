"""What an environment looks like to people: the folder's word, and who needs it."""

from modelyard.control.answers import EnvironmentAnswer, EnvironmentUser
from modelyard.control.platform import Platform
from modelyard.core.deployment import Deployment
from modelyard.package.environment import Environment


def describe(platform: Platform, id: str) -> EnvironmentAnswer:
    """One environment. Raises NotFound."""
    return _describe(platform.environments.get(id), _deployments(platform))


def describe_all(platform: Platform) -> list[EnvironmentAnswer]:
    """All environments, the oldest first."""
    deployments = _deployments(platform)
    return [_describe(environment, deployments) for environment in platform.environments.list()]


def _deployments(platform: Platform) -> list[tuple[Deployment, bool]]:
    """Every deployment, and whether its endpoint wants or serves it."""
    endpoints, deployments = platform.endpoints.snapshot()
    current = {id for endpoint in endpoints for id in (endpoint.wanted, endpoint.serving)}
    return [(deployment, deployment.id in current) for deployment in deployments]


def _describe(environment: Environment, deployments: list[tuple[Deployment, bool]]) -> EnvironmentAnswer:
    of_it = [each for each in deployments if each[0].environment == environment.id]
    return EnvironmentAnswer(
        id=environment.id,
        requirements=environment.requirements,
        packages=tuple(
            line.split(" ")[0] for line in environment.lock.splitlines() if line and line[0] not in "#- "
        ),
        interpreter=environment.interpreter,
        size=environment.size,
        created=environment.created,
        used_by=tuple(
            EnvironmentUser(endpoint=each.endpoint, model=each.model, version=each.version)
            for each, current in of_it
            if current
        ),
        last_used=max((each.created for each, _ in of_it), default=None),
    )
