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
import time
from collections.abc import Callable
from typing import Any, Final

import msgspec

from modelyard.catalog.catalog import load
from modelyard.core.access import DEFAULT_PROJECT
from modelyard.core.card import Card
from modelyard.core.deployment import Deployment, DeploymentSettings
from modelyard.core.errors import Cancelled, Conflict, NotFound, RejectedContent
from modelyard.core.job import Job
from modelyard.core.model import Version
from modelyard.core.names import check_name
from modelyard.core.provenance import Arrival, Source
from modelyard.core.settings import Home
from modelyard.core.struct import Noun
from modelyard.core.units import format_bytes
from modelyard.deploy.reconciler import Reconciler
from modelyard.deploy.signal import Signal
from modelyard.package.environment import Environments
from modelyard.package.system import check_system
from modelyard.pipeline import options
from modelyard.pipeline.fetching import Fetching
from modelyard.pipeline.run import Run
from modelyard.registry.quarantine import require_safe
from modelyard.registry.scan.safety import Safety, ScannerAway
from modelyard.registry.signing import Signing
from modelyard.registry.versions import NeedsTrust, register
from modelyard.store.blobs import BlobStore
from modelyard.store.endpoints import Endpoints
from modelyard.store.jobs import Jobs
from modelyard.store.projects import Projects
from modelyard.store.remotes import Remotes
from modelyard.store.uploads import Upload, Uploads
from modelyard.store.versions import Versions

STAGES: Final = ("register", "environment", "start", "ready", "route")
FETCH: Final = "fetch"
KIND: Final = "deploy"
_AWAY: Final = 2.0  # seconds after which a scanner that is away is asked again
_UNNOTICED = 2.0  # seconds after which a state is looked at though nobody notified

_log = logging.getLogger("modelyard.deploy")


class DeployParameters(Noun):
    """What a job of kind ``deploy`` is asked to do: an upload, an entry of the catalog, or a version (None: the latest).

    ``settings`` is the part of the options that is given; the rest stays as the endpoint has it, or
    with ``reset`` is the default. ``card`` fills what the model's does not say yet; ``who`` asked. ``arrival`` says
    where an upload came from, ``project`` which project all of it is in (None: the model's, or the one that is always there).
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
    project: str | None = None


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
        reconciler: Reconciler,
        changes: threading.RLock,
        changed: Signal,
        signing: Signing,
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
        self._reconciler = reconciler
        self._changes = changes
        self._changed = changed
        self._signing = signing
        self._fetching = fetching
        self._node_url = node_url
        self._registered = registered

    def submit(self, parameters: DeployParameters) -> Job:
        """Create the job; a request that is sent twice gets the job that it made.

        Raises what can be known to be wrong at once.
        """
        check_name(parameters.endpoint, field="endpoint")
        check_name(parameters.model, field="model")
        told = msgspec.json.decode(
            msgspec.json.encode(parameters)
        )  # as the rows give it back, to be compared
        self._endpoints.require_here(parameters.endpoint)
        project, owner = self._project(parameters), self._projects.of_endpoint(parameters.endpoint)
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
                KIND, parameters.endpoint, stages, told, project=self._project(parameters)
            )

    def __call__(self, run: Run) -> dict[str, Any]:
        """Do it; the result names endpoint, version, deployment and the addresses to call."""
        parameters = self._fetched(run, msgspec.convert(run.job.parameters, DeployParameters))
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

    def _fetched(self, run: Run, parameters: DeployParameters) -> DeployParameters:
        """An entry's files as an upload; one that expired before it was registered is made again."""
        if parameters.entry is None:
            return parameters
        done = run.brought(FETCH)
        if done is None or (run.brought("register") is None and self._is_gone(done["upload"])):
            with run.stage(FETCH, f"Fetching {parameters.entry}") as done:
                made = self._fetching(run, load().get(parameters.entry), self._project(parameters))
                size = format_bytes(made.upload.manifest.size)
                done |= {"upload": made.upload.id, "source": msgspec.to_builtins(made.source)}
                done["message"] = f"{len(made.upload.manifest.files)} file(s), {size}"
        arrival = msgspec.structs.replace(
            parameters.arrival or Arrival(source=Source(kind="upload")),
            source=msgspec.convert(done["source"], Source),
        )
        return msgspec.structs.replace(parameters, upload=done["upload"], arrival=arrival)

    def _register(self, run: Run, parameters: DeployParameters) -> Version:
        done = run.brought("register")
        if done is not None:
            version = self._versions.get(done["model"], done["version"])
        else:
            with run.stage("register", "Looking at the files") as result:
                try:
                    version, message = self._version_when_scanned(run, parameters)
                    for line in self._signing.require(version):
                        run.warning(line)
                except NeedsTrust:
                    raise  # the upload stays: the same again with trust sends nothing
                except RejectedContent:
                    if parameters.upload is not None:
                        self._uploads.delete(parameters.upload)
                    raise
                result |= {"model": version.model, "version": version.number, "message": message}
                if version.deprecated is not None:
                    run.warning(
                        f"{version.model} version {version.number} is deprecated: {version.deprecated.why}"
                    )
            if self._registered is not None:
                self._registered()
        if parameters.upload is not None:
            self._uploads.delete(parameters.upload)
        return version

    def _version_when_scanned(self, run: Run, parameters: DeployParameters) -> tuple[Version, str]:
        """The version; while a scanner that is required is away, the upload waits for it and nothing passes."""
        warned = False
        while True:
            try:
                return self._version(run, parameters)
            except ScannerAway as error:
                if not warned:
                    run.warning(f"{error.message} The deployment goes on when it answers.")
                warned = True
                if parameters.upload is not None:
                    self._uploads.renew(parameters.upload)
                waited = time.monotonic() + _AWAY

                def look(until: float = waited) -> bool | None:
                    run.check()
                    return True if time.monotonic() >= until else None

                self._changed.until(look, every=0.5)

    def _version(self, run: Run, parameters: DeployParameters) -> tuple[Version, str]:
        if parameters.upload is not None:
            upload = self._uploads.get(parameters.upload)
            manifest = upload.manifest
            known = self._known(parameters, upload)
            if known is not None:
                version, new = self._checked(run, known), False
                if parameters.arrival is not None:
                    self._versions.arrived(known.model, known.number, parameters.arrival)
            else:
                version, new = register(
                    self._blobs,
                    self._versions,
                    parameters.model,
                    manifest,
                    trusted=parameters.trusted,
                    card=parameters.card,
                    who=parameters.who,
                    because=parameters.because,
                    arrival=parameters.arrival,
                    signing=self._signing,
                    safety=self._safety,
                    progress=run.progress,
                    check=run.check,
                    proven=lambda: self._uploads.proven(upload),
                    project=self._project(parameters),
                )
            what = "is new" if new else "was there already"
            return version, f"{version.model} version {version.number} ({version.analysis.format}) {what}"
        if parameters.version is not None:
            version = self._versions.get(parameters.model, parameters.version)
        else:
            version = self._versions.latest(parameters.model)
        version = self._checked(run, version)
        return version, f"{version.model} version {version.number} ({version.analysis.format})"

    def _checked(self, run: Run, version: Version) -> Version:
        """A version that was there, scanned by what there is now. Raises RejectedContent for one in quarantine."""
        return require_safe(self._safety, self._versions, version, progress=run.progress)

    def _known(self, parameters: DeployParameters, upload: Upload) -> Version | None:
        """The model's latest version when it is just these files, which are the sender's: nothing to analyze again."""
        manifest = upload.manifest
        if {file.sha256 for file in manifest.files} - self._uploads.proven(upload):
            return None
        try:
            latest = self._versions.latest(parameters.model)
        except NotFound:
            return None
        # Whether more or less trust changes something is for the registry to say.
        same = latest.digest == manifest.digest and latest.trusted == parameters.trusted
        return latest if same and parameters.card is None else None

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
        analysis = version.analysis
        id = self._environments.ensure(
            analysis.requirements,
            self._build_progress(run),
            python=[each for each in (analysis.python, settings.python) if each is not None],
            origins=analysis.origins,
        ).id
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
                if not folder.is_dir() or not self._is_there(environment):
                    continue
                self._refuse_when_outrun(run, parameters)
                if self._settings(parameters).python != settings.python:
                    continue  # another deployment of the endpoint came between
                settings = self._settings(parameters)
                return self._endpoints.deploy(
                    parameters.endpoint,
                    version.model,
                    version.number,
                    settings,
                    environment,
                    who=parameters.who,
                    fence=run.fence,
                )

    def _project(self, parameters: DeployParameters) -> str:
        """The project of the model, also of one that is to be made: where it is to be deployed, then."""
        return (
            parameters.project
            or self._projects.of_model(parameters.model)
            or self._projects.of_endpoint(parameters.endpoint)
            or DEFAULT_PROJECT
        )

    def _settings(self, parameters: DeployParameters) -> DeploymentSettings:
        project = self._project(parameters)
        return options.settled(
            self._endpoints,
            parameters.endpoint,
            parameters.settings,
            home=self._home.root,
            elsewhere=[route.endpoint for route in self._remotes.list(project=project)],
            project=project,
            reset=parameters.reset,
        )

    def _is_gone(self, upload: str) -> bool:
        try:
            self._uploads.get(upload)
        except NotFound:
            return True
        return False

    def _is_there(self, environment: str) -> bool:
        try:
            self._environments.get(environment)
        except NotFound:
            return False
        return True

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
