"""Examines a home for what a crash may have left, and repairs what can be repaired safely.

Everything that is found here is removed by the platform itself in time (the janitor, the node's start,
the resumed jobs); this is for a home whose platform does not run, and for whoever wants to know.
"""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import msgspec

from modelyard.control.blob_store import open_blobs
from modelyard.core.deployment import Deployment
from modelyard.core.errors import ModelyardError, Unavailable
from modelyard.core.routes import Confinement
from modelyard.core.settings import Home, load_settings
from modelyard.core.struct import Noun
from modelyard.host.lock import ProgramLock, holder, is_held
from modelyard.registry.upload import collect_garbage
from modelyard.serve.pool.executor import command
from modelyard.serve.pool.limits import Limits
from modelyard.store.blobs import BlobStore
from modelyard.store.database import REVISION, Database
from modelyard.store.endpoints import Endpoints
from modelyard.store.health import complaints
from modelyard.store.homes import Homes
from modelyard.store.jobs import Jobs
from modelyard.store.uploads import Uploads
from modelyard.store.versions import Versions

_LONG_GONE = 3600.0  # seconds

FindingKind = Literal[
    "orphan_blob",
    "missing_blob",
    "corrupt_blob",
    "leftover",
    "missing_environment",
    "abandoned_job",
    "orphan_executor",
    "stale_address",
    "broken_database",
    "unreachable_database",
    "unfit_database",
    "gone_home",
]


class Finding(Noun):
    """One thing that is not in order. ``repairable``: :func:`repair` puts it right without loss."""

    kind: FindingKind
    subject: str
    message: str
    repairable: bool = False


def examine(home: Home, *, thorough: bool = False, database: str | None = None) -> list[Finding]:
    """Look at everything; change nothing. ``thorough`` also reads every blob and compares its digest.

    ``database`` is the URL of a shared one (None: the home's own file). While the control plane runs, what is under
    way (uploads, builds, jobs) is not reported.
    """
    return _examine(home, thorough, database, busy=ProgramLock(home.run, "control").holder() is not None)


def repair(home: Home, *, database: str | None = None) -> list[Finding]:
    """Put right what can be, and return what was. Raises Conflict while a control plane runs."""
    lock = ProgramLock(home.run, "control")
    lock.acquire()
    try:
        findings = [each for each in _examine(home, False, database, busy=False) if each.repairable]
        for finding in findings:
            _repair(home, finding, database)
    finally:
        lock.release()
    return findings


def held_here() -> Confinement:
    """What can hold a model's code on this machine: a process that lets itself be held, and says by what."""
    done = subprocess.run([*command(sys.executable), "--held"], capture_output=True, timeout=30)
    limits = Limits("doctor", None)
    limits.close()
    try:
        return msgspec.convert({**msgspec.json.decode(done.stdout), **limits.held}, Confinement)
    except msgspec.DecodeError:
        return Confinement(**limits.held)


def _examine(home: Home, thorough: bool, url: str | None, *, busy: bool) -> list[Finding]:
    findings = [*_addresses(home), *_executors(home)]
    if not busy:
        findings += _leftovers(home)
    if url is None and not home.database.is_file():
        return findings
    broken = _integrity(home) if url is None else []
    if broken:
        return [*findings, *broken]
    try:
        with _database(home, url) as database:
            if database.revision() != REVISION:
                findings.append(_other_tables(database))
                return findings
            findings += _blobs(home, database, thorough)
            findings += _environments(home, database)
            if not busy:
                findings += _jobs(home, database)
            findings += _shared(database)
    except Unavailable as error:
        if url is None:
            raise
        shown = Database(url).shown
        findings.append(Finding(kind="unreachable_database", subject=shown, message=error.message))
    return findings


@contextmanager
def _database(home: Home, url: str | None) -> Iterator[Database]:
    database = Database(url or home.database)
    try:
        if url is None or database.revision() is None:
            database.migrate()
        yield database
    finally:
        database.close()


def _other_tables(database: Database) -> Finding:
    message = (
        "Its tables are of another version of Modelyard: modelyard up brings those of an older one up to date, and a "
        "newer one has to be installed."
    )
    return Finding(kind="unfit_database", subject=database.shown, message=message)


def _home_id(home: Home, database: Database) -> str | None:
    return home.id.read_text().strip() if database.is_shared and home.id.is_file() else None


def _shared(database: Database) -> Iterator[Finding]:
    """What only a database that several homes share can lack."""
    for message in complaints(database):
        yield Finding(kind="unfit_database", subject=database.shown, message=message)
    if not database.is_shared:
        return
    served: dict[str | None, list[str]] = {}
    for endpoint in Endpoints(database).list():
        served.setdefault(endpoint.home, []).append(endpoint.name)
    for each in Homes(database, silence=_LONG_GONE).list():
        if each.gone and each.id in served:
            message = (
                f"The control plane of this home ({each.host}) has said nothing for over an hour, and "
                f"{', '.join(served[each.id])} is served there; start it, or deploy that from another home."
            )
            yield Finding(kind="gone_home", subject=each.id, message=message)


def _integrity(home: Home) -> list[Finding]:
    try:
        connection = sqlite3.connect(f"file:{home.database}?mode=ro", uri=True)
        try:
            (answer,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        finally:
            connection.close()
    except sqlite3.DatabaseError as error:
        answer = str(error)
    if answer == "ok":
        return []
    message = f"The database is damaged ({answer}); put a backup of {home.database.name} in its place."
    return [Finding(kind="broken_database", subject=str(home.database), message=message)]


def _blobs(home: Home, database: Database, thorough: bool) -> Iterator[Finding]:
    blobs = _store(home, database)
    versions, uploads = Versions(database), Uploads(database)
    # In this order: what is uploaded meanwhile is in the second set, never an orphan.
    present = set(blobs.digests())
    needed = versions.referenced_digests()
    for digest in sorted(present - needed - uploads.referenced_digests() - blobs.retained()):
        message = "No version and no upload refers to this blob."
        yield Finding(kind="orphan_blob", subject=digest, message=message, repairable=True)
    for model in versions.models():
        for number in versions.model(model.name).versions:
            for file in versions.get(model.name, number).manifest.files:
                subject = f"{model.name}/{number}/{file.path}"
                if file.sha256 not in present:
                    message = f"The bytes of this file ({file.sha256}) are gone; deploy the model again."
                    yield Finding(kind="missing_blob", subject=subject, message=message)
                elif blobs.size(file.sha256) != file.size or (thorough and not blobs.verify(file.sha256)):
                    message = (
                        f"The bytes of this file ({file.sha256}) have changed; deploy the model again."
                    )
                    yield Finding(kind="corrupt_blob", subject=subject, message=message)


def _store(home: Home, database: Database) -> BlobStore:
    return open_blobs(load_settings(home=str(home.root)), home, database)


def _leftovers(home: Home) -> Iterator[Finding]:
    """What a process that was killed was writing. Whole things never have such names."""
    killed = "its process was killed while it was made or removed"
    for folder, prefixes in ((home.versions, (".",)), (home.environments, (".building-", ".removed-"))):
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            if path.name.startswith(prefixes):
                message = f"Part of a folder; {killed}."
                yield Finding(kind="leftover", subject=str(path), message=message, repairable=True)
    incoming = home.blobs / "incoming"
    for path in sorted(incoming.iterdir()) if incoming.is_dir() else ():
        if not is_held(path / ".owner"):
            message = f"Part of an upload; {killed}."
            yield Finding(kind="leftover", subject=str(path), message=message, repairable=True)


def _environments(home: Home, database: Database) -> Iterator[Finding]:
    for deployment in _living(Endpoints(database, home=_home_id(home, database))):
        python = home.environments / (deployment.environment or "-") / "bin" / "python"
        if not python.exists():
            message = (
                f"The environment {deployment.environment} is not on this machine; the control plane builds it again "
                "while it runs (modelyard up)."
            )
            yield Finding(kind="missing_environment", subject=deployment.endpoint, message=message)


def _living(endpoints: Endpoints) -> list[Deployment]:
    names, deployments = endpoints.snapshot(here=True)
    roles = {id for endpoint in names for id in (endpoint.wanted, endpoint.serving)}
    return [each for each in deployments if each.id in roles and each.state != "failed"]


def _jobs(home: Home, database: Database) -> Iterator[Finding]:
    for state in ("queued", "running"):
        for job in Jobs(database, home=_home_id(home, database)).list(1000, state, here=True):
            message = f"The job ({job.kind} {job.subject}) goes on when the platform is started."
            yield Finding(kind="abandoned_job", subject=job.id, message=message)


def _addresses(home: Home) -> Iterator[Finding]:
    # The control plane leaves its address for the next start; a node removes it when it stops.
    for address in (home.address("node"), home.address("grpc")):
        if not address.exists() or holder(home.run, "node") is not None:
            continue
        message = "The address of a node that does not run any more; the next one replaces it."
        yield Finding(kind="stale_address", subject=str(address), message=message, repairable=True)


def _executors(home: Home) -> Iterator[Finding]:
    node = holder(home.run, "node")
    place = str(home.run.absolute() / "tmp")
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            folder = str((entry / "cwd").readlink())
            command = (entry / "cmdline").read_bytes()
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, IndexError, ValueError):
            continue  # it ended, or is another user's
        if folder.startswith(place) and b"modelyard_executor" in command and parent != node:
            message = "An executor whose node is gone; it ends by itself when its batch is done, or now."
            yield Finding(kind="orphan_executor", subject=entry.name, message=message, repairable=True)


def _repair(home: Home, finding: Finding, url: str | None) -> None:
    match finding.kind:
        case "orphan_blob":
            # Looked at again, so that what another home has begun to refer to meanwhile stays.
            with _database(home, url) as database:
                collect_garbage(_store(home, database), Uploads(database), Versions(database))
        case "leftover":
            shutil.rmtree(finding.subject)
        case "stale_address":
            Path(finding.subject).unlink(missing_ok=True)
        case "orphan_executor":
            try:
                os.kill(int(finding.subject), signal.SIGKILL)
            except ProcessLookupError:
                return
        case _:
            raise ModelyardError(f"There is no repair for {finding.kind}.")
