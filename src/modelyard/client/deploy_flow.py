"""The flow of a deployment: hash, upload what is missing, create the job, follow it to its end."""

import getpass
import os
import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from modelyard.client.answers import EndpointInfo, decode, error_of, rebuild
from modelyard.client.events import EventParser
from modelyard.client.flows import Session, endpoint, job, part
from modelyard.client.local_files import LocalFile, digest_files, find_files
from modelyard.client.steps import Flow, Listen, NextLine, Refused, Reply, Wait, Work
from modelyard.client.upload_flow import OnEvent, event, send
from modelyard.core.card import Card
from modelyard.core.deployment import DeploymentSettings
from modelyard.core.errors import Internal, InvalidInput, ModelyardError, Unavailable
from modelyard.core.job import Job, JobEvent
from modelyard.core.manifest import Manifest
from modelyard.core.names import check_name, suggest_name
from modelyard.core.provenance import Source, cleaned
from modelyard.core.reference import parse_reference
from modelyard.core.version import VERSION

PATIENCE = 60.0  # seconds that a job's stream may be away (the control plane restarts) before giving up
# Makes the signature (a bundle, JSON text) over a list of files, for the model of a name.
Signer = Callable[[Manifest, str], str]
_ENDS = ("done", "failed", "cancelled")


class Wishes(NamedTuple):
    """How to deploy. ``settings`` is a whole, or the part that is given; with ``reset`` the rest is the
    default, else it is as the endpoint has it. ``card`` fills what the model's card does not say yet. ``source`` is
    where the files came from (None: their path); ``because``: why they are trusted; ``sign`` signs them."""

    trust_pickle: bool
    settings: DeploymentSettings | Mapping[str, Any]
    reset: bool
    card: Card | None = None
    source: Source | None = None
    because: str = ""
    sign: Signer | None = None


def name_of(path: Path, name: str | None) -> str:
    """The endpoint's name: the one given, else the nearest to the file's or folder's name."""
    if name is not None:
        return check_name(name)
    place = path.absolute()
    return suggest_name(place.stem if place.is_file() else place.name)


def begin(
    session: Session,
    path: Path,
    name: str | None,
    wishes: Wishes,
    on_event: OnEvent,
) -> Flow[Job]:
    """Upload the files of ``path`` and create the deployment's job.

    What was uploaded stays when this is interrupted: the next time only the missing files are sent.
    """
    endpoint_name = name_of(path, name)
    upload, manifest = yield from upload_of(session, path, on_event)
    bundle = yield from signed(manifest, endpoint_name, wishes.sign)
    wanted: dict[str, Any] = {
        "endpoint": endpoint_name,
        "upload": upload,
        "trust_pickle": wishes.trust_pickle,
        "provenance": provenance(wishes.source or Source(kind="path", name=path.absolute().name)),
        "because": wishes.because,
        "settings": wishes.settings,
        "reset": wishes.reset,
    }
    if wishes.card is not None:
        wanted["card"] = wishes.card
    if bundle is not None:
        wanted["bundle"] = bundle
    reply = yield from session.api("POST", "/deployments", wanted)
    return decode(reply.body, Job)


def upload_of(session: Session, path: Path, on_event: OnEvent) -> Flow[tuple[str, Manifest]]:
    """Have the files of ``path`` at the platform; the id of the upload that has them, and their list."""
    on_event(event("stage_started", "hash", f"Reading {path}"))
    files: list[LocalFile] = yield Work(lambda: find_files(path))
    manifest: Manifest = yield Work(lambda: digest_files(files, _reading(on_event)))
    on_event(event("stage_done", "hash", f"{len(files)} file(s)", manifest.size, manifest.size))
    return (yield from send(session, files, manifest, on_event)).id, manifest


def signed(manifest: Manifest, name: str, sign: Signer | None) -> Flow[str | None]:
    """The signature of what is sent, for the model ``name``; None where nobody signs."""
    if sign is None:
        return None
    if not callable(sign):
        raise InvalidInput("sign takes what modelyard.signer('private.pem') gives.", field="sign")
    signer = sign
    return (yield Work(lambda: signer(manifest, name)))


def begin_version(session: Session, named: str, endpoint_name: str | None, wishes: Wishes) -> Flow[Job]:
    """Create the job that brings a version that is there to an endpoint."""
    reference = parse_reference(named)
    wanted = {
        "endpoint": reference.model if endpoint_name is None else check_name(endpoint_name),
        "model": reference.model,
        "version": reference.which,
        "trust_pickle": wishes.trust_pickle,
        "settings": wishes.settings,
        "reset": wishes.reset,
    }
    reply = yield from session.api("POST", "/deployments", wanted)
    return decode(reply.body, Job)


def provenance(source: Source) -> dict[str, Any]:
    """What the platform is told of files that are sent: where they came from, who sends them, with what."""
    told = msgspec.to_builtins(cleaned(source))
    return {"source": told, "user": _user(), "client": f"modelyard {VERSION}"}


def _user() -> str:
    """Who this is as the machine knows it: ``alice@laptop``. Nothing proves it."""
    try:
        name = getpass.getuser()
    except (OSError, KeyError):  # a container's user that has no name
        name = str(os.getuid())
    return f"{name}@{socket.gethostname()}"[:200]


def follow(session: Session, id: str, on_event: OnEvent, after: int = 0) -> Flow[Job]:
    """Hand every event of a job to ``on_event`` until it has ended; the job as it then stands.

    A stream that breaks (the control plane was restarted) is taken up again where it was.
    """
    last_heard = time.monotonic()
    while True:
        place = session.location
        url = f"{place.url}/api/v1/jobs/{part(id)}/events?after={after}"
        try:
            reply: Reply = yield Listen(url, place.key)
        except (Refused, Unavailable) as error:
            if time.monotonic() - last_heard > PATIENCE:
                raise Unavailable(
                    f"The platform does not answer any more; the job goes on when it is back: `modelyard jobs {id}`."
                ) from error
            session.relocate()
            yield Wait(0.25)
            continue
        if reply.status >= 400:
            raise error_of(reply.status, reply.headers, reply.body)
        last_heard = time.monotonic()
        parser = EventParser()
        while (line := (yield NextLine())) is not None:
            last_heard = time.monotonic()
            data = parser.feed(line)
            if data is None:
                continue
            event = decode(data.encode(), JobEvent)
            if event.sequence <= after:
                continue
            after = event.sequence
            on_event(event)
            if event.kind in _ENDS:
                return (yield from job(session, id))
        yield Wait(0.1)


def deploy(
    session: Session,
    path: Path,
    name: str | None,
    wishes: Wishes,
    on_event: OnEvent,
) -> Flow[EndpointInfo]:
    """From a path to a living endpoint. Raises the job's error when it failed."""
    created = yield from begin(session, path, name, wishes, on_event)
    ended = yield from follow(session, created.id, on_event)
    raise_failure(ended)
    return (yield from endpoint(session, name_of(path, name)))


def raise_failure(job: Job) -> None:
    """Raise what went wrong in a job that has ended, if it is not done."""
    if job.state == "done":
        return
    if job.state == "cancelled":
        raise ModelyardError(f"The job {job.id} was cancelled.", code="cancelled")
    told: dict[str, Any] = job.error or {}
    message, field = told.get("error"), told.get("field")
    if not isinstance(message, str):
        raise Internal(
            f"The job {job.id} ended as {job.state} without a reason; see `modelyard jobs {job.id}`."
        )
    raise rebuild(str(told.get("code", "internal")), message, field if isinstance(field, str) else None)


def _reading(on_event: OnEvent) -> Callable[[int, int], None]:
    return lambda done, total: on_event(event("progress", "hash", "bytes", done, total))
