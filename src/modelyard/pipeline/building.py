"""The environment of a version: which requirements and which Python it is built of."""

from collections.abc import Callable

from modelyard.core.deployment import DeploymentSettings
from modelyard.core.model import Version
from modelyard.package.environment import Environment, Environments


def asked_python(version: Version, settings: DeploymentSettings) -> list[str]:
    """The versions of Python that the model's author and who deploys it allow: all of these hold."""
    return [each for each in (version.analysis.python, settings.python) if each is not None]


def build(
    environments: Environments,
    version: Version,
    settings: DeploymentSettings,
    progress: Callable[[str], None],
) -> Environment:
    """The environment of a version that is deployed with ``settings``. Raises what ``Environments.ensure`` does."""
    analysis = version.analysis
    return environments.ensure(
        analysis.requirements, progress, python=asked_python(version, settings), origins=analysis.origins
    )
