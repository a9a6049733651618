"""The repositories of the registry over one database, and versions made quickly."""

import hashlib
from dataclasses import dataclass

from modelyard.core.card import Card
from modelyard.core.manifest import FileEntry, Manifest
from modelyard.core.metrics import MetricsTable
from modelyard.core.model import Analysis, Version
from modelyard.store.aliases import Aliases
from modelyard.store.cards import Cards
from modelyard.store.database import Database
from modelyard.store.endpoints import Endpoints
from modelyard.store.jobs import Jobs
from modelyard.store.lineage import Lineage
from modelyard.store.listings import Listings
from modelyard.store.retirement import Retirement
from modelyard.store.versions import Versions


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def manifest(text: str, size: int = 1) -> Manifest:
    digest = hashlib.sha256(text.encode()).hexdigest()
    return Manifest(files=(FileEntry(path="model.onnx", size=size, sha256=digest),))


@dataclass
class Registry:
    database: Database
    clock: Clock

    def __post_init__(self) -> None:
        self.versions = Versions(self.database, self.clock)
        self.aliases = Aliases(self.database, self.clock)
        self.cards = Cards(self.database, self.clock)
        self.lineage = Lineage(self.database, self.clock)
        self.retirement = Retirement(self.database, self.clock)
        self.listings = Listings(self.database)
        self.endpoints = Endpoints(self.database, self.clock)
        self.jobs = Jobs(self.database, self.clock)

    def add(
        self,
        model: str,
        *,
        size: int = 1,
        parameters: int | None = None,
        format: str = "onnx",
        details: dict[str, str] | None = None,
        card: Card | None = None,
        readme: str | None = None,
        readme_metrics: tuple[MetricsTable, ...] = (),
        of: str | None = None,
    ) -> Version:
        """One more version of ``model``, of other files than all before (or those named by ``of``)."""
        self.made = getattr(self, "made", 0) + 1
        analysis = Analysis(format=format, adapter=format, parameters=parameters, details=details or {})
        text = of or f"{model} {self.made}"
        return self.versions.add(
            model,
            manifest(text, size),
            analysis,
            False,
            card=card,
            readme=readme,
            readme_metrics=readme_metrics,
        )[0]
