"""Models and their versions: numbered from 1, identified by their manifest's digest, never changed."""

import builtins
import time
from collections.abc import Callable
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, and_, delete, func, insert, or_, select, update

from modelyard.core.errors import Conflict, NotFound
from modelyard.core.manifest import Manifest
from modelyard.core.model import Analysis, Model, Trust, Version
from modelyard.core.names import check_name
from modelyard.core.provenance import Arrival, Provenance
from modelyard.core.signature import Signature
from modelyard.store import provenance, tables
from modelyard.store.audit import WANTED, Audit
from modelyard.store.database import Database
from modelyard.store.nouns import pack, unpack

_versions = select(tables.versions, tables.models.c.name.label("model")).join(tables.models)


class Versions:
    """The models and versions of one database."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock
        self._audit = Audit(database, clock)

    def add(
        self,
        model: str,
        manifest: Manifest,
        analysis: Analysis,
        trusted: bool,
        *,
        who: str = "system",
        arrival: Arrival | None = None,
        because: str = "",
        quarantine: str | None = None,
    ) -> tuple[Version, bool]:
        """The version of ``manifest`` in ``model``, and whether it is new.

        One that is there already stays as it is, but becomes trusted when it comes as trusted, and its provenance
        has ``arrival`` too. The model is made when there is none. ``because``: why it is trusted. Raises InvalidInput
        for a name that cannot be one.
        """
        check_name(model, field="model")
        with self._database.begin(_of(model)) as session:
            existing = session.execute(
                _versions.where(tables.models.c.name == model, tables.versions.c.digest == manifest.digest)
            ).one_or_none()
            if existing is not None:
                if arrival is not None:
                    provenance.note(session, existing.id, manifest.digest, arrival, self._clock())
                trust = Trust(who=who, because=because)
                return self._trust(session, _noun(existing), trusted, trust), False
            model_id = self._model_id(session, model, who)
            last = select(func.max(tables.versions.c.number)).where(tables.versions.c.model_id == model_id)
            version = Version(
                model=model,
                number=(session.execute(last).scalar() or 0) + 1,
                digest=manifest.digest,
                manifest=manifest,
                analysis=analysis,
                trusted=trusted,
                created=self._clock(),
                trust=Trust(who=who, because=because) if trusted else None,
                quarantine=quarantine,
            )
            made = session.execute(
                insert(tables.versions).values(
                    model_id=model_id,
                    number=version.number,
                    digest=version.digest,
                    manifest_json=pack(manifest),
                    analysis_json=pack(analysis),
                    trusted=trusted,
                    created=version.created,
                    trusted_by=who if trusted else None,
                    trusted_because=because if trusted else None,
                    quarantine=quarantine,
                )
            )
            if arrival is not None:
                (id,) = made.inserted_primary_key or (None,)
                assert isinstance(id, int)
                provenance.note(session, id, version.digest, arrival, version.created)
            subject = f"{model}/{version.number}"
            self._audit.record(who, "version.add", subject, _told(trusted, because), session)
            if quarantine is not None:
                self._audit.record(who, "version.quarantine", subject, quarantine, session)
        return version, True

    def get(self, model: str, number: int) -> Version:
        """Raises NotFound."""
        with self._database.session() as session:
            return _noun(self._row(session, model, number))

    def latest(self, model: str) -> Version:
        """The version of the highest number. Raises NotFound."""
        newest = _versions.where(tables.models.c.name == model).order_by(tables.versions.c.number.desc())
        with self._database.session() as session:
            row = session.execute(newest.limit(1)).one_or_none()
        if row is None:
            raise _no_model(model)
        return _noun(row)

    def models(self) -> list[Model]:
        """All models, by name."""
        return self._models()

    def model(self, name: str) -> Model:
        """Raises NotFound."""
        found = self._models(name)
        if not found:
            raise _no_model(name)
        return found[0]

    def arrived(self, model: str, number: int, arrival: Arrival) -> None:
        """The files of a version that is there have come once more. Raises NotFound."""
        with self._database.begin(_of(model)) as session:
            row = self._row(session, model, number)
            provenance.note(session, row.id, row.digest, arrival, self._clock())

    def provenance(self, model: str, number: int) -> builtins.list[Provenance]:
        """Where the files of a version came from, each source once, the first one first. Raises NotFound."""
        with self._database.session() as session:
            return provenance.read(session, self._row(session, model, number).id)

    def learn(
        self, model: str, number: int, signature: Signature | None, memory: int | None = None
    ) -> None:
        """Fill in a signature that only loading could tell (one that is known stays), and the memory in bytes that a
        replica was measured to take (the most counts). Raises NotFound."""
        with self._database.begin(_of(model)) as session:
            row = session.execute(_versions.where(*_is(model, number))).one_or_none()
            if row is None:
                raise NotFound(f"The model {model!r} has no version {number}.", field="version")
            analysis = unpack(row.analysis_json, Analysis)
            told = signature is not None and analysis.signature is None
            learnt = msgspec.structs.replace(
                analysis,
                signature=signature if told else analysis.signature,
                memory_measured=max(filter(None, (memory, analysis.memory_measured)), default=None),
            )
            if learnt == analysis:
                return
            session.execute(
                update(tables.versions)
                .where(tables.versions.c.id == row.id)
                .values(analysis_json=pack(learnt))
            )
            if not told:
                return
            self._audit.record(
                "system", "version.learn", f"{model}/{number}", "its executor told its signature", session
            )

    def delete_model(self, name: str, *, who: str = "system", why: str = "") -> None:
        """Delete a model and its versions. Raises NotFound, and Conflict while an endpoint uses it."""
        deployments, traffic, endpoints = tables.deployments, tables.traffic, tables.endpoints
        # What is under way counts as well as what has the traffic; a retired or failed one does not.
        users = (
            select(endpoints.c.name)
            .join(deployments, deployments.c.endpoint_id == endpoints.c.id)
            .join(traffic, traffic.c.endpoint_id == endpoints.c.id)
            .where(
                deployments.c.model == name,
                or_(
                    deployments.c.id == traffic.c.wanted,
                    deployments.c.id == traffic.c.serving,
                    deployments.c.state.in_(("pending", "starting", "ready")),
                ),
            )
            .distinct()
            .order_by(endpoints.c.name)
        )
        # No endpoint may begin to want one of its versions, and none may be added meanwhile.
        with self._database.begin(WANTED, _of(name)) as session:
            self._require_model(session, name)
            used = session.execute(users).scalars().all()
            if used:
                raise Conflict(
                    f"The model {name!r} is used by the endpoint{'s' if len(used) > 1 else ''} "
                    f"{', '.join(used)}; delete that first.",
                    field="model",
                )
            session.execute(delete(tables.models).where(tables.models.c.name == name))
            self._audit.record(who, "model.delete", name, why, session)

    def referenced_digests(self) -> set[str]:
        """SHA-256 of every blob of every version."""
        with self._database.session() as session:
            rows = session.execute(select(tables.versions.c.manifest_json)).scalars().all()
        return {file.sha256 for row in rows for file in unpack(row, Manifest).files}

    def _row(self, session: Connection, model: str, number: int) -> Row[Any]:
        row = session.execute(_versions.where(*_is(model, number))).one_or_none()
        if row is None:
            self._require_model(session, model)
            raise NotFound(f"The model {model!r} has no version {number}.", field="version")
        return row

    def manifests(self, after: int = 0) -> builtins.list[tuple[int, str, int, Manifest]]:
        """Row, model, number and manifest of the versions whose row comes after ``after``, in the order they came."""
        query = _versions.where(tables.versions.c.id > after).order_by(tables.versions.c.id)
        with self._database.session() as session:
            return [
                (row.id, row.model, row.number, unpack(row.manifest_json, Manifest))
                for row in session.execute(query)
            ]

    def all(self) -> builtins.list[Version]:
        """Every version of every model, the oldest first."""
        with self._database.session() as session:
            rows = session.execute(_versions.order_by(tables.versions.c.id)).all()
        return [_noun(row) for row in rows]

    def set_quarantine(
        self, model: str, number: int, reason: str | None, *, who: str = "system"
    ) -> Version:
        """Put a version into quarantine for ``reason``, or take it out (None). Nodes are told: what they may serve
        has changed. Raises NotFound."""
        with self._database.begin(WANTED, _of(model)) as session:
            row = session.execute(_versions.where(*_is(model, number))).one_or_none()
            if row is None:
                self._require_model(session, model)
                raise NotFound(f"The model {model!r} has no version {number}.", field="version")
            if row.quarantine != reason:
                session.execute(
                    update(tables.versions).where(tables.versions.c.id == row.id).values(quarantine=reason)
                )
                what = "version.release" if reason is None else "version.quarantine"
                self._audit.record_wanted(who, what, f"{model}/{number}", reason or "", session)
            return msgspec.structs.replace(_noun(row), quarantine=reason)

    def _trust(self, session: Connection, version: Version, trusted: bool, trust: Trust) -> Version:
        if version.trusted or not trusted:
            return version
        ids = select(tables.versions.c.id).join(tables.models).where(*_is(version.model, version.number))
        session.execute(
            update(tables.versions)
            .where(tables.versions.c.id == ids.scalar_subquery())
            .values(trusted=True, trusted_by=trust.who, trusted_because=trust.because)
        )
        self._audit.record(
            trust.who, "version.trust", f"{version.model}/{version.number}", trust.because, session
        )
        return msgspec.structs.replace(version, trusted=True, trust=trust)

    def _model_id(self, session: Connection, name: str, who: str) -> int:
        found = session.execute(select(tables.models.c.id).where(tables.models.c.name == name)).scalar()
        if found is not None:
            return found
        made = session.execute(insert(tables.models).values(name=name, created=self._clock()))
        self._audit.record(who, "model.add", name, "", session)
        (id,) = made.inserted_primary_key or (None,)
        assert isinstance(id, int)
        return id

    def _require_model(self, session: Connection, name: str) -> None:
        if session.execute(select(tables.models.c.id).where(tables.models.c.name == name)).first() is None:
            raise _no_model(name)

    def _models(self, name: str | None = None) -> builtins.list[Model]:
        query = (
            select(tables.models.c.name, tables.models.c.created, tables.versions.c.number)
            .join(tables.versions)
            .order_by(tables.models.c.name, tables.versions.c.number)
        )
        if name is not None:
            query = query.where(tables.models.c.name == name)
        found: dict[str, tuple[float, list[int]]] = {}
        with self._database.session() as session:
            for row in session.execute(query):
                found.setdefault(row.name, (row.created, []))[1].append(row.number)
        return [
            Model(name=each, created=created, latest=numbers[-1], versions=tuple(numbers))
            for each, (created, numbers) in found.items()
        ]


def _of(model: str) -> str:
    """The subject of all that is written about a model."""
    return f"model {model}"


def _is(model: str, number: int) -> tuple[Any, ...]:
    return (and_(tables.models.c.name == model, tables.versions.c.number == number),)


def _no_model(name: str) -> NotFound:
    return NotFound(f"There is no model {name!r}.", field="model")


def _noun(row: Row[Any]) -> Version:
    return Version(
        model=row.model,
        number=row.number,
        digest=row.digest,
        manifest=unpack(row.manifest_json, Manifest),
        analysis=unpack(row.analysis_json, Analysis),
        trusted=row.trusted,
        created=row.created,
        trust=Trust(who=row.trusted_by, because=row.trusted_because or "") if row.trusted_by else None,
        quarantine=row.quarantine,
    )


def _told(trusted: bool, because: str) -> str:
    return f"trusted: {because}" if trusted and because else "trusted" if trusted else ""
