"""Models and their versions: numbered from 1, identified by their manifest's digest, never changed."""

import builtins
import time
from collections.abc import Callable, Collection, Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, CursorResult, Row, and_, delete, insert, select, tuple_, update

from modelyard.core.access import DEFAULT_PROJECT
from modelyard.core.card import MAX_TEXT, Card
from modelyard.core.errors import Conflict, NotFound
from modelyard.core.manifest import Manifest
from modelyard.core.metrics import MetricsTable
from modelyard.core.model import Analysis, Model, Version
from modelyard.core.names import check_name
from modelyard.core.provenance import Arrival, Provenance
from modelyard.core.signature import Signature
from modelyard.store import possession, projects, provenance, tables
from modelyard.store.aliases import forget_aliases
from modelyard.store.audit import WANTED, Audit
from modelyard.store.cards import fill_card, measured
from modelyard.store.database import Database
from modelyard.store.nouns import pack, unpack, without_nul
from modelyard.store.relist import relist
from modelyard.store.retirement import endpoints_of, unmark
from modelyard.store.version_rows import DELETED, VERSIONS, find, is_deleted, noun, subject
from modelyard.store.version_rows import model_id as require_model

_AT_ONCE: Final = 500  # names in one question: databases have a limit


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
        because: str = "",
        arrival: Arrival | None = None,
        quarantine: str | None = None,
        card: Card | None = None,
        readme: str | None = None,
        readme_metrics: Sequence[MetricsTable] = (),
        project: str | None = None,
    ) -> tuple[Version, bool]:
        """The version of ``manifest`` in ``model``, and whether it is new.

        One that is there already stays as it is, but becomes trusted when it comes as trusted, is restored when it
        was deleted, and its provenance has ``arrival`` too. The model is made when there is none; its card is filled
        with what it does not say yet and ``card`` says, and has the figures of each version. ``because``: why it is trusted; ``readme`` is the Markdown of
        the version's own README, ``readme_metrics`` the figures in it. Raises InvalidInput for a name that cannot be one.

        A model that is made belongs to ``project`` (None: to the one that is always there). Raises Conflict when the
        model is there and of another one, NotFound when there is no such project.
        """
        check_name(model, field="model")
        with self._database.begin(subject(model)) as session:
            if project is not None and projects.of_model(session, model) not in (None, project):
                raise projects.taken(model, "model")
            existing = session.execute(
                VERSIONS.where(tables.models.c.name == model, tables.versions.c.digest == manifest.digest)
            ).one_or_none()
            if existing is not None:
                if arrival is not None:
                    provenance.note(session, existing.id, manifest.digest, arrival, self._clock())
                self._again(session, existing, trusted, who, because)
                came = self._keep_readme(session, existing.id, readme)
                if measured(session, existing.id, card, readme_metrics if came else ()) or came:
                    relist(session, existing.id)
                if card is not None:
                    self._fill(session, model, existing.model_id, card, who)
                return noun(find(session, model, existing.number)), False
            model_id = self._model_id(session, model, who, project or DEFAULT_PROJECT)
            last = select(tables.models.c.last).where(tables.models.c.id == model_id).with_for_update()
            number = session.execute(last).scalar_one() + 1
            session.execute(update(tables.models).where(tables.models.c.id == model_id).values(last=number))
            created = self._clock()
            made = session.execute(
                insert(tables.versions).values(
                    model_id=model_id,
                    number=number,
                    digest=manifest.digest,
                    manifest_json=pack(manifest),
                    analysis_json=pack(analysis),
                    trusted=trusted,
                    created=created,
                    trusted_by=who if trusted else None,
                    trusted_because=because if trusted else None,
                    quarantine=quarantine,
                )
            )
            id = _key(made)
            possession.refer(session, id, manifest)
            if arrival is not None:
                provenance.note(session, id, manifest.digest, arrival, created)
            self._audit.record(who, "version.add", f"{model}/{number}", _told(trusted, because), session)
            if quarantine is not None:
                self._audit.record(who, "version.quarantine", f"{model}/{number}", quarantine, session)
            self._keep_readme(session, id, readme)
            measured(session, id, card, readme_metrics)
            relist(session, id)
            if card is not None:
                self._fill(session, model, model_id, card, who)
            return noun(find(session, model, number)), True

    def get(self, model: str, number: int) -> Version:
        """One version, also one that is deleted and not yet gone. Raises NotFound."""
        return self.find(model, number)

    def latest(self, model: str) -> Version:
        """The version of the highest number that is not deleted. Raises NotFound."""
        return self.find(model, None)

    def find(self, model: str, which: int | str | None) -> Version:
        """The version of a number, the one that an alias points at, or the latest (None). Raises NotFound."""
        with self._database.session() as session:
            return noun(find(session, model, which))

    def with_digest(self, model: str, digest: str) -> Version | None:
        """The version of these files, if there is one; also a deleted one that is not yet gone."""
        query = VERSIONS.where(tables.models.c.name == model, tables.versions.c.digest == digest)
        with self._database.session() as session:
            row = session.execute(query).one_or_none()
        return None if row is None else noun(row)

    def several(self, named: Collection[tuple[str, int]]) -> dict[tuple[str, int], Version]:
        """Those of these models and numbers that there are."""
        wanted = sorted(named)
        which = tuple_(tables.models.c.name, tables.versions.c.number)
        found: dict[tuple[str, int], Version] = {}
        with self._database.session() as session:
            for begin in range(0, len(wanted), _AT_ONCE):
                query = VERSIONS.where(which.in_(wanted[begin : begin + _AT_ONCE]))
                found |= {(row.model, row.number): noun(row) for row in session.execute(query)}
        return found

    def of(self, model: str) -> builtins.list[Version]:
        """All versions of a model by their numbers, the deleted ones too. Raises NotFound."""
        with self._database.session() as session:
            require_model(session, model)
            query = VERSIONS.where(tables.models.c.name == model).order_by(tables.versions.c.number)
            return [noun(row) for row in session.execute(query)]

    def models(self, *, project: str | None = None) -> list[Model]:
        """All models, by name; of one project when it is named."""
        return self._models(project=project)

    def model(self, name: str) -> Model:
        """Raises NotFound."""
        found = self._models(name)
        if not found:
            raise _no_model(name)
        return found[0]

    def arrived(self, model: str, number: int, arrival: Arrival) -> None:
        """The files of a version that is there have come once more. Raises NotFound."""
        with self._database.begin(subject(model)) as session:
            row = find(session, model, number)
            provenance.note(session, row.id, row.digest, arrival, self._clock())

    def provenance(self, model: str, number: int) -> builtins.list[Provenance]:
        """Where the files of a version came from, each source once, the first one first. Raises NotFound."""
        with self._database.session() as session:
            return provenance.read(session, find(session, model, number).id)

    def learn(
        self, model: str, number: int, signature: Signature | None, memory: int | None = None
    ) -> None:
        """Fill in a signature that only loading could tell (one that is known stays), and the memory in bytes that a
        replica was measured to take (the most counts). Raises NotFound."""
        with self._database.begin(subject(model)) as session:
            row = find(session, model, number)
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
        """Delete a model and its versions at once. Raises NotFound, and Conflict while an endpoint uses it or another
        model's version was made from one of its own."""
        # No endpoint may begin to want one of its versions, and none may be added or made from one meanwhile.
        with self._database.begin() as session:
            id = require_model(session, name)
            used = endpoints_of(session, name)
            if used:
                raise Conflict(
                    f"The model {name!r} is used by the endpoint{'s' if len(used) > 1 else ''} "
                    f"{', '.join(used)}; delete that first.",
                    field="model",
                )
            if children := self._children(session, id):
                raise Conflict(
                    f"{', '.join(children[:8])} of other models were made from versions of {name!r}; say that they were not, "
                    "or delete them first.",
                    field="model",
                )
            own = select(tables.versions.c.id).where(tables.versions.c.model_id == id)
            session.execute(delete(tables.lineage).where(tables.lineage.c.version_id.in_(own)))
            forget_aliases(session, name, id, self._clock, who, why)
            self._audit.record(who, "model.delete", name, why, session)
            session.execute(delete(tables.models).where(tables.models.c.id == id))

    def referenced_digests(self) -> set[str]:
        """SHA-256 of every blob of every version."""
        with self._database.session() as session:
            rows = session.execute(select(tables.versions.c.manifest_json)).scalars().all()
        return {file.sha256 for row in rows for file in unpack(row, Manifest).files}

    def manifests(self, after: int = 0) -> builtins.list[tuple[int, str, int, Manifest]]:
        """Row, model, number and manifest of the versions whose row comes after ``after``, in the order they came."""
        query = VERSIONS.where(tables.versions.c.id > after).order_by(tables.versions.c.id)
        with self._database.session() as session:
            return [
                (row.id, row.model, row.number, unpack(row.manifest_json, Manifest))
                for row in session.execute(query)
            ]

    def with_blob(self, sha256: str, session: Connection) -> builtins.list[tuple[str, int, str]]:
        """Model, number and path of all files that are this blob, the newest first."""
        query = VERSIONS.join(
            tables.version_blobs, tables.version_blobs.c.version_id == tables.versions.c.id
        )
        query = query.where(tables.version_blobs.c.digest == bytes.fromhex(sha256))
        return [
            (row.model, row.number, file.path)
            for row in session.execute(query.order_by(tables.versions.c.id.desc()))
            for file in unpack(row.manifest_json, Manifest).files
            if file.sha256 == sha256
        ]

    def all(self) -> builtins.list[Version]:
        """Every version of every model, the oldest first."""
        with self._database.session() as session:
            rows = session.execute(VERSIONS.order_by(tables.versions.c.id)).all()
        return [noun(row) for row in rows]

    def set_quarantine(
        self, model: str, number: int, reason: str | None, *, who: str = "system"
    ) -> Version:
        """Put a version into quarantine for ``reason``, or take it out (None). Nodes are told: what they may serve
        has changed. Raises NotFound."""
        with self._database.begin(WANTED, subject(model)) as session:
            row = find(session, model, number)
            if row.quarantine != reason:
                session.execute(
                    update(tables.versions).where(tables.versions.c.id == row.id).values(quarantine=reason)
                )
                relist(session, row.id)
                what = "version.release" if reason is None else "version.quarantine"
                self._audit.record_wanted(who, what, f"{model}/{number}", reason or "", session)
            return noun(find(session, model, number))

    def _again(self, session: Connection, row: Row[Any], trusted: bool, who: str, because: str) -> None:
        """What adding the files of a version that is there changes."""
        subject = f"{row.model}/{row.number}"
        if trusted and (not row.trusted or because):
            # The first who says why is who is named; what others say later the audit has.
            if not row.trusted or not row.trusted_because:
                session.execute(
                    update(tables.versions)
                    .where(tables.versions.c.id == row.id)
                    .values(trusted=True, trusted_by=who, trusted_because=because)
                )
            if because != row.trusted_because:
                self._audit.record(who, "version.trust", subject, because, session)
        if row.deleted_time is not None:
            unmark(session, row.id, DELETED)
            self._audit.record(who, "version.restore", subject, "its files were added again", session)

    @staticmethod
    def _keep_readme(session: Connection, id: int, readme: str | None) -> bool:
        """Keep the README of a version that has none yet; whether its listing is to be made anew for that."""
        held = select(tables.readmes.c.version_id).where(tables.readmes.c.version_id == id)
        if readme is None or session.execute(held).first() is not None:
            return False
        session.execute(insert(tables.readmes).values(version_id=id, text=without_nul(readme[:MAX_TEXT])))
        return True

    def _fill(self, session: Connection, model: str, model_id: int, card: Card, who: str) -> None:
        if fill_card(session, model_id, card, self._clock(), who):
            self._audit.record(who, "card.fill", model, "", session)

    @staticmethod
    def _children(session: Connection, model_id: int) -> builtins.list[str]:
        parents = tables.versions.alias("parents")
        query = (
            select(tables.models.c.name, tables.versions.c.number)
            .join(tables.versions, tables.versions.c.model_id == tables.models.c.id)
            .join(tables.lineage, tables.lineage.c.version_id == tables.versions.c.id)
            .join(parents, parents.c.id == tables.lineage.c.parent_id)
            .where(parents.c.model_id == model_id, tables.models.c.id != model_id)
            .order_by(tables.models.c.name, tables.versions.c.number)
        )
        return [f"{row.name}/{row.number}" for row in session.execute(query)]

    def _model_id(self, session: Connection, name: str, who: str, project: str) -> int:
        found = session.execute(select(tables.models.c.id).where(tables.models.c.name == name)).scalar()
        if found is not None:
            return found
        if not projects.exists(session, project):
            raise projects.no_project(project)
        values = {"name": name, "created": self._clock(), "project": project}
        made = session.execute(insert(tables.models).values(values))
        self._audit.record(who, "model.add", name, "", session)
        return _key(made)

    def _models(self, name: str | None = None, project: str | None = None) -> builtins.list[Model]:
        versions = and_(tables.versions.c.model_id == tables.models.c.id, ~is_deleted())
        query = (
            select(
                tables.models.c.name,
                tables.models.c.created,
                tables.models.c.project,
                tables.versions.c.number,
            )
            .select_from(tables.models)
            .outerjoin(tables.versions, versions)
            .order_by(tables.models.c.name, tables.versions.c.number)
        )
        if name is not None:
            query = query.where(tables.models.c.name == name)
        if project is not None:
            query = query.where(tables.models.c.project == project)
        found: dict[str, tuple[float, str, list[int]]] = {}
        with self._database.session() as session:
            for row in session.execute(query):
                _, _, numbers = found.setdefault(row.name, (row.created, row.project, []))
                if row.number is not None:
                    numbers.append(row.number)
        return [
            Model(
                name=each,
                created=created,
                latest=numbers[-1] if numbers else 0,
                versions=tuple(numbers),
                project=owner,
            )
            for each, (created, owner, numbers) in found.items()
        ]


def _key(made: CursorResult[Any]) -> int:
    (id,) = made.inserted_primary_key or (None,)
    assert isinstance(id, int)
    return id


def _no_model(name: str) -> NotFound:
    return NotFound(f"There is no model {name!r}.", field="model")


def _told(trusted: bool, because: str) -> str:
    return f"trusted: {because}" if trusted and because else "trusted" if trusted else ""
