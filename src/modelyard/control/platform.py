"""All rooms of one home put together: what the API, the pages and the loops share."""

import hashlib
import logging
import threading
import time
from pathlib import Path

from modelyard.control.hub import JobHub
from modelyard.control.janitor import Janitor
from modelyard.core.deployment import Deployment
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
from modelyard.pipeline.runner import Runner
from modelyard.registry.scan.safety import Safety
from modelyard.store.audit import Audit
from modelyard.store.blobs import BlobStore
from modelyard.store.database import Database
from modelyard.store.endpoints import Endpoints
from modelyard.store.jobs import Jobs
from modelyard.store.owner import this_process
from modelyard.store.remotes import Remotes
from modelyard.store.uploads import Uploads
from modelyard.store.verdicts import Verdicts
from modelyard.store.versions import Versions

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
        self.database = Database(self.home.database)
        self.database.migrate()
        self.versions = Versions(self.database)
        self.uploads = Uploads(self.database, lifetime=settings.upload_expiry)
        self.endpoints = Endpoints(self.database)
        self.remotes = Remotes(self.database)
        self.jobs = Jobs(self.database)
        self.audit = Audit(self.database)
        self.blobs = BlobStore(self.home.blobs)
        self.verdicts = Verdicts(self.database)
        self.safety = Safety(
            self.blobs, self.verdicts, clamav=settings.clamav, required=settings.clamav_required
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
            environments=self.environments,
            reconciler=self.reconciler,
            changes=self.changes,
            changed=self.changed,
            node_url=lambda: self.node_url,
        )
        self.runner = Runner(
            self.jobs,
            {KIND: self.deploy},
            owner=this_process(),
            notify=self.hub.publish,
            changed=self.changed,
        )
        self.janitor = Janitor(self)

    @property
    def node_url(self) -> str | None:
        """The address that the node serves at; None before its first start."""
        return self.target.url

    def endpoint_url(self, name: str) -> str:
        """Where clients call an endpoint; relative while there was never a node."""
        return f"{self.node_url or ''}/models/{name}"

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
        return pool_of(version, deployment, str(python), str(files))

    def version_folder(self, digest: str) -> Path:
        """Where the files of the version of ``digest`` lie for its executors."""
        return self.home.versions.absolute() / digest

    def start(self) -> None:
        """Start the loops."""
        self.reconciler.start()
        self.runner.start()
        self.janitor.start()

    def stop(self) -> None:
        """Stop the loops within two seconds; what they did not finish resumes at the next start."""
        self.hub.close()
        self.janitor.stop()
        self.runner.stop(timeout=1.0)
        self.reconciler.stop(timeout=1.0)
        self.target.close()
        self.database.close()
