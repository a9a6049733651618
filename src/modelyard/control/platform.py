"""All rooms of one home put together: what the API, the pages and the loops share."""

import hashlib
import logging
import threading
import time
from pathlib import Path

from modelyard.control.admission import Admission
from modelyard.control.blob_store import open_blobs
from modelyard.control.hub import JobHub
from modelyard.control.janitor import Janitor
from modelyard.control.presence import Presence
from modelyard.control.rebuilder import Rebuilder
from modelyard.core.deployment import Deployment, Endpoint
from modelyard.core.errors import Unavailable
from modelyard.core.model import Version
from modelyard.core.routes import NodeStatus, Pool
from modelyard.core.settings import Home, Settings
from modelyard.deploy.local import LocalTarget
from modelyard.deploy.plan import pool_of
from modelyard.deploy.reconciler import Reconciler
from modelyard.deploy.signal import Signal
from modelyard.host.home import prepare, read_key
from modelyard.package.environment import Environments
from modelyard.pipeline.deploy import KIND, DeployPipeline
from modelyard.pipeline.fetching import Fetching
from modelyard.pipeline.runner import Runner
from modelyard.registry.quarantine import let_in_by_trust
from modelyard.registry.scan.safety import Safety
from modelyard.registry.signing import Signing
from modelyard.store.aliases import Aliases
from modelyard.store.audit import Audit
from modelyard.store.cards import Cards
from modelyard.store.checks import Checks
from modelyard.store.database import open_database
from modelyard.store.endpoints import Endpoints
from modelyard.store.facets import Facets
from modelyard.store.homes import HomeEntry, Homes
from modelyard.store.jobs import Jobs
from modelyard.store.keys import Keys
from modelyard.store.lineage import Lineage
from modelyard.store.listings import Listings
from modelyard.store.lockfiles import Lockfiles
from modelyard.store.owner import this_process
from modelyard.store.pieces import Pieces
from modelyard.store.projects import Projects
from modelyard.store.remotes import Remotes
from modelyard.store.retirement import Retirement
from modelyard.store.shared_clock import SharedClock
from modelyard.store.signatures import Signatures
from modelyard.store.uploads import Uploads
from modelyard.store.verdicts import Verdicts
from modelyard.store.versions import Versions

_HOMES_KEPT = 5.0  # seconds

_log = logging.getLogger("modelyard.control")


class Platform:
    """Made without starting anything but the database's migration; :meth:`start` starts the loops.

    ``changes`` is held by everything that writes endpoints, ``changed`` is notified after it.
    ``url`` is the address of the API once it is bound.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.home = Home(settings.home)
        self.started = time.time()
        self.url: str | None = None
        prepare(self.home)
        self.key = read_key(self.home.key)
        self.database = open_database(settings)
        self.database.migrate()
        # In a home's own database all is its own, also what a home of another id has left in it.
        self.id = read_key(self.home.id) if self.database.is_shared else None
        self.homes = Homes(self.database, silence=settings.takeover_after)
        self._home_entries: dict[str, HomeEntry] = {}
        self._homes_read = float("-inf")
        self.versions = Versions(self.database)
        self.aliases = Aliases(self.database)
        self.cards = Cards(self.database)
        self.lineage = Lineage(self.database)
        self.clock = SharedClock(self.database)
        self.clock()  # asked before anybody holds a connection and waits for it
        self.retirement = Retirement(self.database, self.clock)
        self.listings = Listings(self.database)
        self.facets = Facets(self.database)
        self.uploads = Uploads(self.database, lifetime=settings.upload_expiry, clock=self.clock)
        self.endpoints = Endpoints(self.database, home=self.id, gone=self.homes.gone)
        self.remotes = Remotes(self.database, home=self.id)
        self.jobs = Jobs(self.database, home=self.id, gone=self.homes.gone)
        self.lockfiles = Lockfiles(self.database)
        self.audit = Audit(self.database)
        self.projects = Projects(self.database)
        self.keys = Keys(self.database)
        self.admission = Admission(self.key, self.keys, self.projects)
        self.checks = Checks(self.database, self.versions, self.audit)
        self.pieces = Pieces(self.database, self.clock)
        try:
            self.blobs = open_blobs(settings, self.home, self.database, self.pieces)
        except BaseException:
            self.database.close()  # nobody gets this object, who could
            raise
        self.verdicts = Verdicts(self.database)
        self.safety = Safety(
            self.blobs,
            self.verdicts,
            clamav=settings.clamav,
            required=settings.clamav_required,
            reasons=settings.trust_reason,
        )
        self.signing = Signing(
            settings.signatures,
            [Path(each.strip()) for each in (settings.signature_keys or "").split(",") if each.strip()],
            Signatures(self.database),
        )
        self.environments = Environments(self.home.environments, downloads=settings.python_downloads)
        self.target = LocalTarget(self.home)
        self.hub = JobHub()
        self.changes = threading.RLock()
        self.changed = Signal()
        keys = (hashlib.sha256(self.key.encode()).hexdigest(),) if settings.authentication else None
        self.reconciler = Reconciler(
            endpoints=self.endpoints,
            remotes=self.remotes,
            versions=self.versions,
            target=self.target,
            pool_source=self.pool,
            keys=keys,
            grants=self.keys.grants,
            used=self.keys.note_uses,
            changes=self.changes,
            changed=self.changed,
            stop_quarantined=settings.scan_policy == "stop",
        )
        self.deploy = DeployPipeline(
            home=self.home,
            blobs=self.blobs,
            uploads=self.uploads,
            versions=self.versions,
            safety=self.safety,
            endpoints=self.endpoints,
            remotes=self.remotes,
            jobs=self.jobs,
            projects=self.projects,
            environments=self.environments,
            lockfiles=self.lockfiles,
            reconciler=self.reconciler,
            changes=self.changes,
            changed=self.changed,
            signing=self.signing,
            confined=settings.confine != "off",
            fetching=Fetching(
                self.home.root.absolute() / "catalog", settings.mirror, self.blobs, self.uploads
            ),
            node_url=lambda: self.node_url,
            registered=lambda: self.janitor.came(),
        )
        self.runner = Runner(
            self.jobs,
            {KIND: self.deploy},
            owner=this_process(),
            notify=self.hub.publish,
            changed=self.changed,
            clock=self.database.time,
        )
        self.janitor = Janitor(self)
        self.rebuilder = Rebuilder(self)
        self.presence = None
        if self.id is not None:
            self.presence = Presence(
                self.homes, self.id, lambda: (self.url, self.node_url), silence=settings.takeover_after
            )

    @property
    def node_url(self) -> str | None:
        """The address that the node serves at; None before its first start."""
        return self.target.url

    def endpoint_url(self, name: str, home: str | None = None) -> str:
        """Where clients call an endpoint (of ``home``, where several share the database); relative while there was
        never a node."""
        return f"{self._node_of(home) or ''}/models/{name}"

    def is_here(self, endpoint: Endpoint) -> bool:
        """Whether the node of this home serves it."""
        return self.id is None or endpoint.home == self.id

    def place_of(self, endpoint: Endpoint) -> str:
        """The control plane of the home that serves it, for people."""
        home = self.home_entries().get(endpoint.home or "")
        return "unknown" if home is None else home.url or home.host

    def home_entries(self) -> dict[str, HomeEntry]:
        """The homes that share the database, by id; kept for some seconds."""
        if self.id is None:
            return {}
        now = time.monotonic()
        if now - self._homes_read > _HOMES_KEPT:
            self._home_entries = {home.id: home for home in self.homes.list()}
            self._homes_read = now
        return self._home_entries

    def _node_of(self, home: str | None) -> str | None:
        if self.id is None or home is None or home == self.id:
            return self.node_url
        other = self.home_entries().get(home)
        return other.node_url if other is not None else None

    def node_status(self) -> NodeStatus | None:
        """What the node says now; None when it does not answer."""
        try:
            return self.target.status()
        except Unavailable:
            return None

    def pool(self, version: Version, deployment: Deployment) -> Pool:
        """The pool of a deployment, its files laid out again if somebody removed them."""
        files = self.version_folder(version.digest)
        if not files.is_dir():
            with self.changes:  # the janitor tidies up under it
                self.blobs.lay_out(version.manifest, files)
        python = self.home.environments.absolute() / (deployment.environment or "-") / "bin" / "python"
        # Of a thousand versions that need no trust nobody has to know what was found in them.
        by_trust = version.trusted and let_in_by_trust(version, self.safety.seen(version))
        return pool_of(version, deployment, str(python), str(files), by_trust=by_trust)

    def version_folder(self, digest: str) -> Path:
        """Where the files of the version of ``digest`` lie for its executors."""
        return self.home.versions.absolute() / digest

    def start(self) -> None:
        """Start the loops."""
        if self.presence is not None:
            self.presence.start()
        self.reconciler.start()
        self.runner.start()
        self.rebuilder.start()
        self.janitor.start()

    def stop(self) -> None:
        """Stop the loops within two seconds; what they did not finish resumes at the next start."""
        self.hub.close()
        if self.presence is not None:
            self.presence.stop()
        self.janitor.stop()
        self.rebuilder.stop(timeout=1.0)
        self.runner.stop(timeout=1.0)
        self.reconciler.stop(timeout=1.0)
        self.target.close()
        self.database.close()
