"""Who asks for a page, and the one way in which pages read the registry: rules of access belong here."""

from fastapi import Request
from msgspec.structs import replace

from modelyard.control.api.common import caller_of, platform_of, principal_of
from modelyard.core.card import CardAnswer
from modelyard.core.errors import NotFound
from modelyard.core.files import Files
from modelyard.core.history import AliasMove, LineageNode
from modelyard.core.job import Job, JobEvent
from modelyard.core.listing import Listing, Page, Wanted
from modelyard.core.model import Version
from modelyard.core.provenance import Provenance
from modelyard.core.scan import VersionScan
from modelyard.core.signing import FileSignature
from modelyard.store.facets import Values


class Visitor:
    """The caller of one request. Methods raise what the rooms raise: NotFound for what is not there.

    What an address names was looked at by the edge already (``control/access.py``); what is listed, and what a form
    names, is looked at here.
    """

    def __init__(self, request: Request) -> None:
        self.platform = platform_of(request)
        self.who = caller_of(request)
        self.by = principal_of(request)

    def search(self, wanted: Wanted, limit: int, cursor: str | None = None) -> Page:
        """A page of listings."""
        if not self._sees(wanted):
            return Page(versions=())
        return self.platform.listings.search(self._own(wanted), limit, cursor)

    def count(self, wanted: Wanted, most: int) -> int:
        """How many there are of them, counted as far as ``most`` + 1."""
        return self.platform.listings.count(self._own(wanted), most) if self._sees(wanted) else 0

    def facets(self, wanted: Wanted) -> Values:
        """What else can be filtered by, and how many are left then."""
        return self.platform.facets.values(self._own(wanted)) if self._sees(wanted) else {}

    def version(self, name: str, which: int | str | None) -> Version:
        """One version; of a model whose versions are all deleted the newest of them as the latest."""
        self.platform.admission.see_model(self.by, name)
        try:
            return self.platform.versions.find(name, which)
        except NotFound:
            gone = () if which is not None else self.deleted(name, 1)
            if not gone:
                raise
            return self.platform.versions.find(name, gone[0].number)

    def versions(self, name: str, limit: int) -> Page:
        """The newest listings of a model that are not deleted."""
        return self.search(Wanted(name=name, all_versions=True), limit)

    def deleted(self, name: str, limit: int) -> tuple[Listing, ...]:
        """The newest listings of a model that are deleted and can be restored."""
        return self.search(Wanted(name=name, status="deleted"), limit).versions

    def files(self, version: Version) -> Files:
        """The bytes of a version."""
        return self.platform.blobs.files(version.manifest)

    def card(self, version: Version) -> CardAnswer:
        """What people should know of it."""
        return self.platform.cards.get(version.model, version.number)

    def aliases(self, name: str) -> dict[str, int]:
        """Where the aliases of a model point."""
        return self.platform.aliases.list(name)

    def history(self, name: str) -> list[AliasMove]:
        """Every move of them, the newest first."""
        return self.platform.aliases.history(name, former=self.by.project is None)[::-1]

    def lineage(self, version: Version) -> list[LineageNode]:
        """The tree that it stands in."""
        return self.platform.lineage.tree(version.model, version.number)

    def provenance(self, version: Version) -> list[Provenance]:
        """Where its files came from."""
        return self.platform.versions.provenance(version.model, version.number)

    def signatures(self, version: Version) -> list[FileSignature]:
        """Who vouches for its files."""
        return self.platform.signing.signatures(version)

    def scan(self, version: Version) -> VersionScan:
        """What scanners have said of it."""
        return self.platform.safety.seen(version)

    def endpoints(self, version: Version) -> tuple[str, ...]:
        """The endpoints that want or serve it, by name."""
        endpoints, deployments = self.platform.endpoints.snapshot()
        used = {
            each.id for each in deployments if (each.model, each.version) == (version.model, version.number)
        }
        return tuple(
            sorted(
                each.name
                for each in endpoints
                if used & {each.wanted, each.serving} and self.by.sees(each.project)
            )
        )

    def endpoint(self, name: str) -> str | None:
        """``name`` where it is an endpoint's that he sees."""
        found = (each for each in self.platform.endpoints.snapshot()[0] if each.name == name)
        return next((each.name for each in found if self.by.sees(each.project)), None)

    def job(self, id: str) -> tuple[Job, list[JobEvent]]:
        """A job and its story."""
        return self.platform.jobs.get(id), self.platform.jobs.events(id, 0)

    def _sees(self, wanted: Wanted) -> bool:
        return wanted.project is None or self.by.sees(wanted.project)

    def _own(self, wanted: Wanted) -> Wanted:
        return replace(wanted, project=self.by.project or wanted.project)
