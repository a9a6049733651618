"""What each method of a client asks the platform for, step by step, without touching a socket."""

import os
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

import msgspec

from modelyard.client import records
from modelyard.client.answers import (
    EndpointInfo,
    EnvironmentInfo,
    EnvironmentsFreed,
    ModelInfo,
    PlatformInfo,
    RemotesInfo,
    StoreCollected,
    StoreInfo,
    StoreReport,
    decode,
    error_of,
)
from modelyard.client.location import Location, locate, read_address
from modelyard.client.steps import Call, Flow, Refused, Reply
from modelyard.core.errors import Unavailable
from modelyard.core.job import Job
from modelyard.core.model import Version
from modelyard.core.provenance import Provenance
from modelyard.core.reference import parse_model
from modelyard.core.remotes import RemoteRoute
from modelyard.core.routes import Remote
from modelyard.core.scan import VersionScan
from modelyard.core.signing import FileSignature

T = TypeVar("T")
_LONG = 3600.0  # of what reads and writes a store


class Session:
    """Where the platform is, found on first use and again when it is not there any more."""

    def __init__(
        self,
        url: str | None,
        api_key: str | None,
        home: str | None,
        timeout: float,
        project: str | None = None,
    ) -> None:
        self._given = (url, api_key, home)
        self.project = project or os.environ.get("MODELYARD_PROJECT") or None
        self._location: Location | None = None
        self._node: str | None = None
        self.timeout = timeout
        self.user = _user()
        self.output_types: dict[tuple[str, str], records.OutputTypes] = {}

    @property
    def location(self) -> Location:
        """Raises Unavailable when no platform runs at the place that was given."""
        if self._location is None:
            self._location = locate(*self._given)
        return self._location

    def forget(self) -> None:
        """Look for the addresses anew at the next call: a restart may have moved them."""
        self._location = None
        self._node = None

    def relocate(self) -> None:
        """As :meth:`forget`, but keep what is known when nothing is found now (it is being restarted)."""
        known = self._location
        self.forget()
        try:
            self._location = locate(*self._given)
        except Unavailable:
            self._location = known

    def api(self, method: str, path: str, body: object = None, *, timeout: float = 60.0) -> Flow[Reply]:
        """One call of the control API; the answer below 400. Raises the error that it brings."""
        # JSON has no word for NaN: msgspec would write null, and what was there before would be gone.
        data = None if body is None else records.encode(msgspec.to_builtins(body))
        place = self.location
        headers = {} if self.user is None else {"modelyard-user": self.user}
        if self.project is not None:
            headers["modelyard-project"] = self.project
        call = Call(method, f"{place.url}/api/v1{path}", place.key, data, timeout=timeout, headers=headers)
        try:
            reply: Reply = yield call
        except Refused as error:
            self.forget()
            raise Unavailable(
                f"The platform does not answer at {place.url}; see `modelyard status`, start it with "
                "`modelyard up`."
            ) from error
        if reply.status >= 400:
            raise error_of(reply.status, reply.headers, reply.body)
        return reply

    def node(self) -> Flow[str]:
        """The node's URL: from the home, so that it is found while the control plane is away, else asked."""
        if self._node is None:
            home = self.location.home
            self._node = read_address(home, "node") if home is not None else None
        if self._node is None:
            info = decode((yield from self.api("GET", "/status")).body, PlatformInfo)
            if info.node.url is None:
                raise Unavailable("The platform's node is not running; see `modelyard status`.")
            self._node = info.node.url.rstrip("/")
        return self._node

    def ask(self, type: type[T], path: str) -> Flow[T]:
        """GET ``path`` of the control API as ``type``."""
        return decode((yield from self.api("GET", path)).body, type)


def _user() -> str | None:
    """Who uses this machine, for the platform's audit; None where that is not known."""
    import getpass

    try:
        user = getpass.getuser()
    except (KeyError, OSError, ImportError):
        return None
    return user if user.isascii() and user.isprintable() and 0 < len(user) <= 200 else None


def endpoints(session: Session) -> Flow[list[EndpointInfo]]:
    return (yield from session.ask(list[EndpointInfo], "/endpoints"))


def endpoint(session: Session, name: str) -> Flow[EndpointInfo]:
    return (yield from session.ask(EndpointInfo, f"/endpoints/{part(name)}"))


def environments(session: Session) -> Flow[list[EnvironmentInfo]]:
    return (yield from session.ask(list[EnvironmentInfo], "/environments"))


def clean_environments(
    session: Session, older_than: float | None, dry_run: bool
) -> Flow[EnvironmentsFreed]:
    asked = {"older_than": older_than, "dry_run": dry_run}
    return decode((yield from session.api("POST", "/environments/clean", asked)).body, EnvironmentsFreed)


def store_usage(session: Session) -> Flow[StoreInfo]:
    return decode((yield from session.api("GET", "/store", timeout=_LONG)).body, StoreInfo)


def verify_store(
    session: Session, deep: bool, repair: bool, on_progress: Callable[[StoreReport], None] | None
) -> Flow[StoreReport]:
    """All blobs, some seconds a call; what was found so far is told after each."""
    report = StoreReport(blobs=0, bytes=0, all_blobs=0, all_bytes=0, after="")
    while report.after is not None:
        asked = {"deep": deep, "repair": repair, "after": report.after}
        reply = yield from session.api("POST", "/store/verify", asked, timeout=_LONG)
        told = decode(reply.body, StoreReport)
        report = msgspec.structs.replace(
            told,
            blobs=report.blobs + told.blobs,
            bytes=report.bytes + told.bytes,
            troubles=report.troubles + told.troubles,
        )
        if on_progress is not None:
            on_progress(report)
    return report


def collect_store(session: Session) -> Flow[StoreCollected]:
    reply = yield from session.api("POST", "/store/collect", {}, timeout=_LONG)
    return decode(reply.body, StoreCollected)


def delete(session: Session, name: str) -> Flow[None]:
    yield from session.api("DELETE", f"/endpoints/{part(name)}")


def logs(session: Session, name: str, tail: int) -> Flow[str]:
    reply = yield from session.api("GET", f"/endpoints/{part(name)}/logs?tail={tail}")
    return reply.body.decode(errors="replace")


def remotes(session: Session) -> Flow[list[RemotesInfo]]:
    return (yield from session.ask(list[RemotesInfo], "/remotes"))


def remotes_of(session: Session, name: str) -> Flow[RemotesInfo]:
    return (yield from session.ask(RemotesInfo, f"/remotes/{part(name)}"))


def set_remotes(session: Session, route: RemoteRoute) -> Flow[RemoteRoute]:
    body = {"remotes": route.remotes, "weight": route.weight, "retry": route.retry}
    reply = yield from session.api("PUT", f"/remotes/{part(route.endpoint)}", body)
    return decode(reply.body, RemoteRoute)


def add_remote(session: Session, name: str, remote: Remote) -> Flow[RemoteRoute]:
    reply = yield from session.api("POST", f"/remotes/{part(name)}", remote)
    return decode(reply.body, RemoteRoute)


def change_remotes(
    session: Session, name: str, weight: float | None, retry: dict[str, Any]
) -> Flow[RemoteRoute]:
    body = {"weight": weight, "retry": retry}
    return decode((yield from session.api("PATCH", f"/remotes/{part(name)}", body)).body, RemoteRoute)


def delete_remotes(session: Session, name: str, url: str | None, model: str | None) -> Flow[None]:
    given = {"url": url, "model": model}
    query = urlencode({key: value for key, value in given.items() if value is not None})
    yield from session.api("DELETE", f"/remotes/{part(name)}" + (f"?{query}" if query else ""))


def models(session: Session) -> Flow[list[ModelInfo]]:
    return (yield from session.ask(list[ModelInfo], "/models"))


def model(session: Session, name: str) -> Flow[ModelInfo]:
    return (yield from session.ask(ModelInfo, f"/models/{part(parse_model(name))}"))


def version(session: Session, name: str, number: int) -> Flow[Version]:
    return (yield from session.ask(Version, f"/models/{part(name)}/versions/{number}"))


def provenance(session: Session, name: str, number: int) -> Flow[list[Provenance]]:
    return (yield from session.ask(list[Provenance], f"/models/{part(name)}/versions/{number}/provenance"))


def signatures(session: Session, name: str, number: int) -> Flow[list[FileSignature]]:
    return (
        yield from session.ask(list[FileSignature], f"/models/{part(name)}/versions/{number}/signatures")
    )


def add_signature(session: Session, name: str, number: int, bundle: str) -> Flow[FileSignature]:
    path = f"/models/{part(name)}/versions/{number}/signatures"
    return decode((yield from session.api("POST", path, {"bundle": bundle})).body, FileSignature)


def sbom(session: Session, name: str, number: int) -> Flow[dict[str, Any]]:
    return (yield from session.ask(dict[str, Any], f"/models/{part(name)}/versions/{number}/sbom"))


def environment_sbom(session: Session, id: str) -> Flow[dict[str, Any]]:
    return (yield from session.ask(dict[str, Any], f"/environments/{part(id)}/sbom"))


def scan(session: Session, name: str, number: int, again: bool) -> Flow[VersionScan]:
    path = f"/models/{part(name)}/versions/{number}/scan"
    reply = yield from session.api("POST", path, {"again": again}, timeout=3600.0)
    return decode(reply.body, VersionScan)


def scanned(session: Session, name: str, number: int) -> Flow[VersionScan]:
    return (yield from session.ask(VersionScan, f"/models/{part(name)}/versions/{number}/scan"))


def delete_model(session: Session, name: str) -> Flow[None]:
    yield from session.api("DELETE", f"/models/{part(parse_model(name))}")


def jobs(session: Session, state: str | None, limit: int) -> Flow[list[Job]]:
    query = urlencode({"limit": limit} | ({} if state is None else {"state": state}))
    return (yield from session.ask(list[Job], f"/jobs?{query}"))


def job(session: Session, id: str) -> Flow[Job]:
    return (yield from session.ask(Job, f"/jobs/{part(id)}"))


def cancel(session: Session, id: str) -> Flow[None]:
    yield from session.api("POST", f"/jobs/{part(id)}/cancel")


def status(session: Session) -> Flow[PlatformInfo]:
    return (yield from session.ask(PlatformInfo, "/status"))


def part(text: str) -> str:
    """One part of a path."""
    return quote(text, safe="")
