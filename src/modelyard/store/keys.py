"""API keys: shown once, kept as a digest; who came with one, and what nodes are told of them.

A key has 256 random bits. There is nothing to guess, so that its digest is a plain SHA-256 and costs a call a
microsecond, where the slow hash of a password would cost it a tenth of a second.
"""

import builtins
import hashlib
import logging
import re
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Connection, Row, insert, or_, select, update

from modelyard.core.access import ApiKey, Principal, Role
from modelyard.core.errors import Conflict, InvalidInput, NotFound, Unavailable
from modelyard.core.names import check_name
from modelyard.core.routes import Grant
from modelyard.store import projects, tables
from modelyard.store.audit import WANTED, Audit
from modelyard.store.database import Database
from modelyard.store.nouns import pack, unpack

USED_EVERY: Final = 60.0  # seconds between two writings of when a key was last used
_RESERVED: Final = frozenset({"system"})  # who the audit says did it when nobody asked for it
_SECRET = re.compile(r"myk_[0-9a-f]{12}_[A-Za-z0-9_-]{43}")
_keys: Final = tables.api_keys
_log = logging.getLogger("modelyard.keys")


class Keys:
    """The API keys of one database."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock
        self._audit = Audit(database, clock)
        self._noted: dict[str, float] = {}  # uses on nodes that were written

    def create(
        self,
        name: str,
        *,
        project: str | None,
        role: Role,
        endpoints: Sequence[str] = (),
        expires: float | None = None,
        who: str = "system",
    ) -> tuple[ApiKey, str]:
        """A new key, and what has to be sent, which nobody can show again. With a ``project`` of None it may
        everything; ``expires`` is seconds since the epoch.

        Raises InvalidInput for what cannot be, NotFound for a project or an endpoint that is not there, Conflict for
        a name that another key has or had: it is what the audit says.
        """
        check_name(name, field="name")
        now = self._clock()
        if name in _RESERVED:
            raise InvalidInput(f"{name!r} cannot be the name of a key; choose another one.", field="name")
        if expires is not None and expires <= now:
            raise InvalidInput("The key would have expired already.", field="expires")
        if endpoints and role != "caller":
            raise InvalidInput(
                "Endpoints can only be named for a key that predicts and nothing else (predict-only).",
                field="endpoints",
            )
        if project is None and role != "admin":
            raise InvalidInput("A key of no project is an admin's; name a project.", field="project")
        id, secret, digest = _new()
        with self._database.begin(WANTED, "keys") as session:
            if project is not None and not projects.exists(session, project):
                raise projects.no_project(project)
            for each in endpoints:
                if projects.of_endpoint(session, each) != project:
                    raise NotFound(f"There is no endpoint {each!r}.", field="endpoints")
            if session.execute(select(_keys.c.id).where(_keys.c.name == name)).first() is not None:
                raise projects.taken(name, "name")
            session.execute(
                insert(_keys).values(
                    id=id,
                    name=name,
                    digest=digest,
                    project=project,
                    role=role,
                    endpoints_json=pack(sorted(set(endpoints))),
                    created=now,
                    who=who,
                    expires=expires,
                )
            )
            what = f"{role} of {project}" if project is not None else "admin of the installation"
            self._audit.record_wanted(who, "key.create", name, f"{id}: {what}", session, project=project)
            return _noun(self._require(session, id, None)), secret

    def list(self, project: str | None = None) -> builtins.list[ApiKey]:
        """All keys, of one project when it is named, the oldest first; those that open nothing any more, too."""
        query = select(_keys).order_by(_keys.c.created, _keys.c.id)
        if project is not None:
            query = query.where(_keys.c.project == project)
        with self._database.session() as session:
            return [_noun(row) for row in session.execute(query)]

    def get(self, named: str, project: str | None = None) -> ApiKey:
        """The key of an id or a name (of ``project``). Raises NotFound."""
        with self._database.session() as session:
            return _noun(self._require(session, named, project))

    def revoke(
        self, named: str, project: str | None = None, *, who: str = "system", why: str = ""
    ) -> ApiKey:
        """It opens nothing any more; again changes nothing. Raises NotFound."""
        with self._database.begin(WANTED, "keys") as session:
            row = self._require(session, named, project)
            if row.revoked is None:
                session.execute(update(_keys).where(_keys.c.id == row.id).values(revoked=self._clock()))
                told = f"{row.id}{': ' + why if why else ''}"
                self._audit.record_wanted(who, "key.revoke", row.name, told, session, project=row.project)
            return _noun(self._require(session, row.id, project))

    def rotate(
        self, named: str, project: str | None = None, *, expires: float | None = None, who: str = "system"
    ) -> tuple[ApiKey, str]:
        """The same key with another secret (and with ``expires`` another end); the former secret opens nothing any
        more. Raises NotFound, and Conflict for one that was revoked."""
        now = self._clock()
        if expires is not None and expires <= now:
            raise InvalidInput("The key would have expired already.", field="expires")
        id, secret, digest = _new()
        with self._database.begin(WANTED, "keys") as session:
            row = self._require(session, named, project)
            if row.revoked is not None:
                raise Conflict(f"The key {row.name!r} was revoked; create another one.", field="key")
            if expires is None and row.expires is not None and row.expires <= now:
                raise Conflict(
                    f"The key {row.name!r} has expired; say until when the new one is to be good.",
                    field="expires",
                )
            values = {"id": id, "digest": digest, "expires": row.expires if expires is None else expires}
            session.execute(update(_keys).where(_keys.c.id == row.id).values(**values, used=None))
            told = f"{id} in place of {row.id}"
            self._audit.record_wanted(who, "key.rotate", row.name, told, session, project=row.project)
            return _noun(self._require(session, id, project)), secret

    def known(self, secret: str) -> ApiKey | None:
        """The key that a secret is of, also one that opens nothing any more; None when it is none. That it was used
        is noted, at most once a minute."""
        if not _SECRET.fullmatch(secret):
            return None
        digest, now = digest_of(secret), self._clock()
        with self._database.session() as session:
            row = session.execute(select(_keys).where(_keys.c.digest == digest)).one_or_none()
        if row is None:
            return None
        key = _noun(row)
        if not key.over(now) and (key.used is None or key.used <= now - USED_EVERY):
            self._note_use(key, now)
        return key

    def _note_use(self, key: ApiKey, now: float) -> None:
        stale = or_(_keys.c.used.is_(None), _keys.c.used <= now - USED_EVERY)
        try:
            with self._database.begin(f"key {key.id}") as session:
                session.execute(update(_keys).where(_keys.c.id == key.id, stale).values(used=now))
        except Unavailable as error:
            # A database that is full or read-only can be read: who only reads is not refused for this.
            _log.warning("when the key %s was used is not written: %s", key.id, error.message)

    def note_uses(self, used: Mapping[str, float]) -> None:
        """Nodes let keys in at these times, by the beginning of their digests; written at most once a minute for
        each, and never backwards."""
        news = {
            client: when
            for client, when in used.items()
            if when > self._noted.get(client, 0.0) + USED_EVERY and re.fullmatch(r"[0-9a-f]{16}", client)
        }
        if not news:
            return
        try:
            with self._database.begin("keys used") as session:
                for client, when in news.items():
                    older = or_(_keys.c.used.is_(None), _keys.c.used < when)
                    session.execute(
                        update(_keys).where(_keys.c.digest.startswith(client), older).values(used=when)
                    )
        except Unavailable as error:
            _log.warning("when %d keys were used is not written: %s", len(news), error.message)
            return
        self._noted.update(news)

    def grants(self) -> tuple[Grant, ...]:
        """What nodes are told: each key that opens something, and the endpoints that it may predict on."""
        now = self._clock()
        living = or_(_keys.c.expires.is_(None), _keys.c.expires > now)
        with self._database.session() as session:
            rows = session.execute(
                select(_keys).where(_keys.c.revoked.is_(None), living).order_by(_keys.c.id)
            ).all()
            names: dict[str, set[str]] = {}
            for column, project in (
                (tables.endpoints.c.name, tables.endpoints.c.project),
                (tables.remotes.c.endpoint, tables.remotes.c.project),
            ):
                for name, owner in session.execute(select(column, project)):
                    names.setdefault(owner, set()).add(name)
        grants: builtins.list[Grant] = []
        for row in rows:
            key = _noun(row)
            if key.project is None:
                seen = set[str]().union(*names.values())
            else:
                seen = names.get(key.project, set())
            if key.endpoints:
                seen = seen & set(key.endpoints)
            manages = principal_of(key).may("operator")
            grants.append(
                Grant(
                    digest=row.digest, endpoints=tuple(sorted(seen)), manages=manages, expires=key.expires
                )
            )
        return tuple(grants)

    def has(self, named: str, project: str | None) -> bool:
        """Whether there is a key of this id or name (in ``project``)."""
        return any(named in (key.id, key.name) for key in self.list(project))

    def now(self) -> float:
        """The time by which keys end."""
        return self._clock()

    @staticmethod
    def _require(session: Connection, named: str, project: str | None) -> Row[Any]:
        query = select(_keys).where(or_(_keys.c.id == named, _keys.c.name == named))
        if project is not None:
            query = query.where(_keys.c.project == project)
        # An id before a name that looks like one.
        rows = sorted(session.execute(query).all(), key=lambda row: row.id != named)
        if not rows:
            raise NotFound(f"There is no key {named!r}; see: modelyard keys list", field="key")
        return rows[0]


def principal_of(key: ApiKey) -> Principal:
    """Who comes with ``key``."""
    return Principal(
        name=key.name,
        role=key.role,
        project=key.project,
        installation=key.project is None,
        endpoints=key.endpoints,
    )


def digest_of(secret: str) -> str:
    """What is kept of a key: its SHA-256 in hex."""
    return hashlib.sha256(secret.encode()).hexdigest()


def _new() -> tuple[str, str, str]:
    """An id, the secret that begins with it, and its digest."""
    id = secrets.token_hex(6)
    secret = f"myk_{id}_{secrets.token_urlsafe(32)}"
    return id, secret, digest_of(secret)


def _noun(row: Row[Any]) -> ApiKey:
    return ApiKey(
        id=row.id,
        name=row.name,
        project=row.project,
        role=row.role,
        created=row.created,
        who=row.who,
        endpoints=unpack(row.endpoints_json, tuple[str, ...]),
        expires=row.expires,
        used=row.used,
        revoked=row.revoked,
    )
