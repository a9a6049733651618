"""The durable run of a deployment: register, environment, start, ready, route; before them fetch, from the catalog.

Every stage is idempotent: a run that was killed in the middle of one does that stage again and finds
what is there. What a stage brought (``stage_done``'s data) is not done twice:

    fetch        {"upload", "source"}      an entry of the catalog has become an upload
    register     {"model", "version"}      the upload has become a version, and is gone
    environment  {"environment"}           its identity; the folder is made again when it is missing
    start        {"deployment"}            the revision exists and the reconciler brings it up
    ready        {}                        a real prediction went through a replica's queue
    route        {}                        the endpoint's traffic is on it
"""

import logging
import threading
from collections.abc import Callable
from typing import Any, Final

import msgspec

from modelyard.catalog.catalog import load
from modelyard.core.deployment import Deployment, DeploymentSettings
from modelyard.core.errors import Cancelled, Conflict, NotFound, RejectedContent
from modelyard.core.job import Job
from modelyard.core.model import Version
from modelyard.core.names import check_name
from modelyard.core.settings import Home
from modelyard.deploy.reconciler import Reconciler
from modelyard.deploy.signal import Signal
from modelyard.package.environment import Environments
from modelyard.package.system import check_system
from modelyard.pipeline import building, options, trust
from modelyard.pipeline.fetching import FETCH, Fetching
from modelyard.pipeline.parameters import DeployParameters
from modelyard.pipeline.register import RegisterStage
from modelyard.pipeline.run import Run
from modelyard.registry.scan.safety import Safety
from modelyard.registry.signing import Signing
from modelyard.store.blobs import BlobStore
from modelyard.store.endpoints import Endpoints
from modelyard.store.jobs import Jobs
from modelyard.store.lockfiles import Lockfiles
from modelyard.store.projects import Projects
from modelyard.store.remotes import Remotes
from modelyard.store.uploads import Uploads
from modelyard.store.versions import Versions

STAGES: Final = ("register", "environment", "start", "ready", "route")
KIND: Final = "deploy"
_UNNOTICED = 2.0  # seconds after which a state is looked at though nobody notified

_log = logging.getLogger("modelyard.deploy")


class DeployPipeline:
    """The rooms that a deployment walks through, put together. Instances are callable on a Run."""

    def __init__(
        self,
        *,
        home: Home,
        blobs: BlobStore,
        uploads: Uploads,
        versions: Versions,
        safety: Safety,
        endpoints: Endpoints,
        remotes: Remotes,
        jobs: Jobs,
        projects: Projects,
        environments: Environments,
        lockfiles: Lockfiles,
        reconciler: Reconciler,
        changes: threading.RLock,
        changed: Signal,
        signing: Signing,
        confined: bool,
        fetching: Fetching,
        node_url: Callable[[], str | None],
        registered: Callable[[], None] | None = None,
    ) -> None:
        self._home = home
        self._blobs = blobs
        self._uploads = uploads
        self._versions = versions
        self._safety = safety
        self._endpoints = endpoints
        self._remotes = remotes
        self._jobs = jobs
        self._projects = projects
        self._environments = environments
        self._lockfiles = lockfiles
        self._reconciler = reconciler
        self._changes = changes
        self._changed = changed
        self._confined = confined
        self._fetching = fetching
        self._node_url = node_url
        self._register = RegisterStage(
            blobs=blobs, uploads=uploads, versions=versions, safety=safety, projects=projects, changed=changed,
            signing=signing, registered=registered,
        )  # fmt: skip

    def submit(self, parameters: DeployParameters) -> Job:
        """Create the job; a request that is sent twice gets the job that it made.

        Raises what can be known to be wrong at once.
        """
        check_name(parameters.endpoint, field="endpoint")
        check_name(parameters.model, field="model")
        self._safety.require_reason(parameters.trusted, parameters.because)
        told = msgspec.json.decode(
            msgspec.json.encode(parameters)
        )  # as the rows give it back, to be compared
        self._endpoints.require_here(parameters.endpoint)
        project, owner = (
            parameters.of_project(self._projects),
            self._projects.of_endpoint(parameters.endpoint),
        )
        if owner not in (None, project):
            raise Conflict(
                f"The endpoint {parameters.endpoint!r} is of the project {owner!r}, and the model {parameters.model!r} of "
                f"{project!r}; choose another name for the endpoint, or move the model.",
                field="endpoint",
            )
        with self._changes:
            if parameters.upload is not None or parameters.entry is not None:
                # First of all: an upload is used up by the job that registers it.
                for job in (*self._jobs.list(1000, "queued"), *self._jobs.list(1000, "running")):
                    if job.kind == KIND and job.parameters == told:
                        return job
            if parameters.upload is not None:
                self._uploads.get(parameters.upload)
            elif parameters.entry is not None:
                load().get(parameters.entry)
            elif (version := self._versions.find(parameters.model, parameters.version)).deleted is not None:
                raise Conflict(
                    f"{version.model}/{version.number} is deleted; restore it first: "
                    f"modelyard models restore {version.model}/{version.number}",
                    field="version",
                )
            self._settings(parameters)
            stages = STAGES if parameters.entry is None else (FETCH, *STAGES)
            return self._jobs.create(
                KIND, parameters.endpoint, stages, told, project=parameters.of_project(self._projects)
            )

    def __call__(self, run: Run) -> dict[str, Any]:
        """Do it; the result names endpoint, version, deployment and the addresses to call."""
        parameters = msgspec.convert(run.job.parameters, DeployParameters)
        if parameters.entry is not None:
            parameters = self._fetching(
                run, parameters, parameters.entry, parameters.of_project(self._projects)
            )
        version = self._register(run, parameters)
        self._environment(run, parameters, version)
        deployment = self._start(run, parameters, version)
        try:
            self._ready(run, deployment)
            self._route(run, deployment)
        except Cancelled:
            self._withdraw(deployment)
            raise
        url = f"{self._node_url() or ''}/models/{parameters.endpoint}"
        return {
            "endpoint": parameters.endpoint,
            "model": version.model,
            "version": version.number,
            "deployment": deployment,
            "url": url,
            "predict_url": f"{url}/predict",
            "example": version.analysis.example,
        }

    def _environment(self, run: Run, parameters: DeployParameters, version: Version) -> None:
        if run.brought("environment") is not None:
            return
        with run.stage("environment", "Python environment") as result:
            if unknown := check_system(version.analysis.system_packages):
                run.warning(
                    f"Whether this machine has {', '.join(unknown)}, which the model needs, could not be checked: "
                    "there is no dpkg here."
                )
            environment = self._build(run, version, self._settings(parameters))
            result |= {"environment": environment, "message": f"environment {environment[:12]}"}

    def _build(self, run: Run, version: Version, settings: DeploymentSettings) -> str:
        """The environment of a version that is deployed with ``settings``."""
        id = building.build(self._environments, version, settings, self._build_progress(run)).id
        self._environments.compile(id)
        return id

    @staticmethod
    def _build_progress(run: Run) -> Callable[[str], None]:
        def progress(line: str) -> None:
            run.check()
            run.progress(line)

        return progress

    def _start(self, run: Run, parameters: DeployParameters, version: Version) -> str:
        done = run.brought("start")
        if done is not None:
            if self._endpoints.serves_here(done["deployment"]):
                return done["deployment"]
            # The home that began it is gone, and with it what it had started.
            run.forget("start", "ready", "route")
        with run.stage("start", "Laying out the files") as result:
            for line in trust.told(
                version,
                self._safety.seen(version),
                self._settings(parameters).leave,
                confined=self._confined,
            ):
                run.warning(line)
            deployment = self._create(run, parameters, version)
            self._reconciler.wake()
            result |= {"deployment": deployment.id, "message": f"revision {deployment.revision}"}
        return deployment.id

    def _create(self, run: Run, parameters: DeployParameters, version: Version) -> Deployment:
        """The new revision, its files and environment there at the moment when it begins to count."""
        folder = self._home.versions.absolute() / version.digest
        while True:
            run.check()
            self._blobs.lay_out(version.manifest, folder)
            settings = self._settings(parameters)
            environment = self._build(run, version, settings)
            with self._changes:
                # The janitor removes under this lock what no revision uses yet.
                if not folder.is_dir() or not self._environments.has(environment):
                    continue
                self._refuse_when_outrun(run, parameters)
                if self._settings(parameters).python != settings.python:
                    continue  # another deployment of the endpoint came between
                settings = self._settings(parameters)
                self._lockfiles.keep(self._environments.lockfile(environment))
                return self._endpoints.deploy(
                    parameters.endpoint,
                    version.model,
                    version.number,
                    settings,
                    environment,
                    who=parameters.who,
                    fence=run.fence,
                )

    def _settings(self, parameters: DeployParameters) -> DeploymentSettings:
        project = parameters.of_project(self._projects)
        return options.settled(
            self._endpoints,
            parameters.endpoint,
            parameters.settings,
            home=self._home.root,
            elsewhere=[route.endpoint for route in self._remotes.list(project=project)],
            project=project,
            reset=parameters.reset,
        )

    def _refuse_when_outrun(self, run: Run, parameters: DeployParameters) -> None:
        """The later of two deployments of one endpoint wins, also when its stages were faster."""
        for other in self._jobs.list(200):
            if (
                other.kind == KIND
                and other.subject == parameters.endpoint
                and other.created > run.job.created
                and (other.state == "done" or other.stage in STAGES[2:])
                and other.state not in ("failed", "cancelled")
            ):
                raise Conflict(
                    f"A later deployment of {parameters.endpoint!r} (job {other.id}) has overtaken this one."
                )

    def _ready(self, run: Run, deployment: str) -> None:
        if run.brought("ready") is not None:
            return
        with run.stage("ready", "Waiting for a first prediction") as result:
            warned = False

            def look() -> Deployment | None:
                nonlocal warned
                run.check()
                now = self._living(deployment)
                if now.state == "failed":
                    raise RejectedContent(now.reason or "The replicas failed without giving a reason.")
                if now.state == "retired":
                    raise Conflict(now.reason or f"Revision {now.revision} was replaced by a later one.")
                if now.state == "ready":
                    return now
                if self._reconciler.node_answers is False and not warned:
                    warned = True
                    run.warning("The node does not answer; the deployment goes on when it is back.")
                return None

            self._changed.until(look, every=_UNNOTICED)
            result["message"] = "it answered a first prediction"

    def _route(self, run: Run, deployment: str) -> None:
        if run.brought("route") is not None:
            return
        with run.stage("route", "Moving the traffic"):

            def look() -> bool | None:
                run.check()
                now = self._living(deployment)
                if self._endpoints.get(now.endpoint).serving == deployment or now.state == "retired":
                    return True
                if now.state == "failed":
                    raise RejectedContent(now.reason or "The replicas failed without giving a reason.")
                return None

            self._changed.until(look, every=_UNNOTICED)

    def _living(self, deployment: str) -> Deployment:
        try:
            return self._endpoints.deployment(deployment)
        except NotFound as error:
            raise Conflict("The endpoint was deleted while it was deployed.") from error

    def withdraw(self, job_id: str) -> None:
        """After a job was cancelled: what it has started does not go on either."""
        for event in self._jobs.events(job_id, 0):
            if event.kind == "stage_done" and event.stage == "start":
                self._withdraw(str(event.data["deployment"]))

    def _withdraw(self, deployment: str) -> None:
        reason = "The deployment was cancelled before it had the traffic."
        with self._changes:
            try:
                now = self._endpoints.deployment(deployment)
                endpoint = self._endpoints.get(now.endpoint)
            except NotFound:
                return
            if endpoint.serving == deployment or now.state in ("failed", "retired"):
                return
            self._endpoints.set_state(deployment, "failed", reason)
            if endpoint.wanted == deployment and endpoint.serving is not None:
                self._endpoints.revert(endpoint.name)
        _log.info("deployment %s was withdrawn", deployment)
        self._reconciler.wake()
        self._changed.notify()
