"""What a deployment is asked for, as it is kept with its job."""

from typing import Any

from modelyard.core.access import DEFAULT_PROJECT
from modelyard.core.card import Card
from modelyard.core.provenance import Arrival
from modelyard.core.struct import Noun
from modelyard.store.projects import Projects


class DeployParameters(Noun):
    """What a job of kind ``deploy`` is asked to do: an upload, an entry of the catalog, or a version (None:
    the latest).

    ``settings`` is the part of the options that is given; the rest stays as the endpoint has it, or
    with ``reset`` is the default. ``card`` fills what the model's does not say yet; ``who`` asked. ``arrival`` says
    where an upload came from, ``bundle`` is the signature that came with it, ``project`` which project all of it is in (None: the model's, or the one that is always there).
    """

    endpoint: str
    model: str
    upload: str | None = None
    entry: str | None = None
    version: int | None = None
    settings: dict[str, Any] = {}
    reset: bool = False
    trusted: bool = False
    card: Card | None = None
    who: str = "system"
    arrival: Arrival | None = None
    because: str = ""
    bundle: str | None = None
    project: str | None = None

    def of_project(self, projects: Projects) -> str:
        """The project of the model, also of one that is to be made: where it is to be deployed, then."""
        return (
            self.project
            or projects.of_model(self.model)
            or projects.of_endpoint(self.endpoint)
            or DEFAULT_PROJECT
        )
