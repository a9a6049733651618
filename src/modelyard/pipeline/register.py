"""The first stage of a deployment: an upload becomes a version, or the version that is named is looked at again."""

import time
from collections.abc import Callable
from typing import Final

from modelyard.core.errors import NotFound, RejectedContent
from modelyard.core.model import Version
from modelyard.deploy.signal import Signal
from modelyard.pipeline.parameters import DeployParameters
from modelyard.pipeline.run import Run
from modelyard.registry.quarantine import require_safe
from modelyard.registry.scan.safety import Safety, ScannerAway
from modelyard.registry.signing import Signing
from modelyard.registry.versions import NeedsTrust, register
from modelyard.store.blobs import BlobStore
from modelyard.store.projects import Projects
from modelyard.store.uploads import Upload, Uploads
from modelyard.store.versions import Versions

_AWAY: Final = 2.0  # seconds after which a scanner that is away is asked again


class RegisterStage:
    """What it needs, put together. ``registered`` is called after a version was made or found."""

    def __init__(
        self,
        *,
        blobs: BlobStore,
        uploads: Uploads,
        versions: Versions,
        safety: Safety,
        projects: Projects,
        changed: Signal,
        signing: Signing,
        registered: Callable[[], None] | None = None,
    ) -> None:
        self._blobs = blobs
        self._uploads = uploads
        self._versions = versions
        self._safety = safety
        self._projects = projects
        self._changed = changed
        self._signing = signing
        self._registered = registered

    def __call__(self, run: Run, parameters: DeployParameters) -> Version:
        """Do it, or find it done; the version. Raises RejectedContent; NeedsTrust leaves the upload where it is."""
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
                if parameters.bundle is not None:
                    self._signing.add(known, parameters.bundle, who=parameters.who)
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
                    bundle=parameters.bundle,
                    safety=self._safety,
                    progress=run.progress,
                    check=run.check,
                    proven=lambda: self._uploads.proven(upload),
                    project=parameters.of_project(self._projects),
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
        # Whether more or less trust, or a reason for it, changes something is for the registry to say.
        same = latest.digest == manifest.digest and latest.trusted == parameters.trusted
        return latest if same and parameters.card is None and not parameters.because else None
