"""Bills of materials as the API answers them: of an environment, and of a version with the one it last ran in."""

from typing import Any, Final

from starlette.responses import Response

from modelyard.control.platform import Platform
from modelyard.core.errors import NotFound
from modelyard.core.model import Version
from modelyard.package.environment import Environment
from modelyard.package.sbom import environment_sbom, version_sbom

MEDIA_TYPE: Final = "application/vnd.cyclonedx+json"
SBOM: Final[dict[str, Any]] = {
    "description": "A bill of materials, CycloneDX 1.6",
    "content": {MEDIA_TYPE: {"schema": {"type": "object"}}},
}


class SbomResponse(Response):
    """A bill of materials, as text."""

    media_type = MEDIA_TYPE


def sbom_of_environment(platform: Platform, id: str) -> str:
    """CycloneDX JSON. Raises NotFound."""
    return environment_sbom(platform.environments.get(id))


def sbom_of_version(platform: Platform, version: Version) -> str:
    """CycloneDX JSON of the version, with the packages of the environment of its latest deployment that is still
    there."""
    return version_sbom(version, _environment(platform, version.model, version.number))


def _environment(platform: Platform, name: str, number: int) -> Environment | None:
    deployments = [
        each
        for each in platform.endpoints.deployments()
        if (each.model, each.version) == (name, number) and each.environment is not None
    ]
    for each in sorted(deployments, key=lambda each: each.created, reverse=True):
        try:
            return platform.environments.get(each.environment or "")
        except NotFound:
            continue  # it was cleaned up; an older one may be there
    return None
