"""How versions are read with all that is said of them, and found by number, by alias, or as the latest."""

from typing import Any, Final

from sqlalchemy import Connection, Row, Select, and_, exists, func, select

from modelyard.core.errors import NotFound
from modelyard.core.manifest import Manifest
from modelyard.core.model import Analysis, Mark, Parent, Trust, Version
from modelyard.store import tables
from modelyard.store.nouns import unpack, unpack_object

DEPRECATED: Final = "deprecated"
DELETED: Final = "deleted"

_deprecated = tables.marks.alias("deprecated_mark")
_deleted = tables.marks.alias("deleted_mark")
_parent = tables.versions.alias("parent_version")
_parent_model = tables.models.alias("parent_model")
_named = (
    select(func.aggregate_strings(tables.aliases.c.name, ","))
    .where(tables.aliases.c.version_id == tables.versions.c.id)
    .scalar_subquery()
)

VERSIONS: Final[Select[Any]] = (
    select(
        tables.versions,
        tables.models.c.name.label("model"),
        _named.label("aliases"),
        *(_deprecated.c[name].label(f"deprecated_{name}") for name in ("time", "who", "why")),
        *(_deleted.c[name].label(f"deleted_{name}") for name in ("time", "who", "why", "until")),
        _parent_model.c.name.label("parent_model"),
        _parent.c.number.label("parent_number"),
        tables.lineage.c.relation,
        tables.lineage.c.tradeoff_json,
    )
    .select_from(tables.versions)
    .join(tables.models, tables.models.c.id == tables.versions.c.model_id)
    .outerjoin(
        _deprecated,
        and_(_deprecated.c.version_id == tables.versions.c.id, _deprecated.c.mark == DEPRECATED),
    )
    .outerjoin(_deleted, and_(_deleted.c.version_id == tables.versions.c.id, _deleted.c.mark == DELETED))
    .outerjoin(tables.lineage, tables.lineage.c.version_id == tables.versions.c.id)
    .outerjoin(_parent, _parent.c.id == tables.lineage.c.parent_id)
    .outerjoin(_parent_model, _parent_model.c.id == _parent.c.model_id)
)


def subject(model: str) -> str:
    """The subject of all that is written about a model."""
    return f"model {model}"


def is_deleted() -> Any:
    """Whether the version of the surrounding query is marked as deleted."""
    return exists().where(tables.marks.c.version_id == tables.versions.c.id, tables.marks.c.mark == DELETED)


def find(session: Connection, model: str, which: int | str | None) -> Row[Any]:
    """The row of one version, also of one that is deleted, but never as the latest. Raises NotFound."""
    query = VERSIONS.where(tables.models.c.name == model)
    if which is None:
        query = query.where(_deleted.c.time.is_(None)).order_by(tables.versions.c.number.desc()).limit(1)
    elif isinstance(which, int):
        query = query.where(tables.versions.c.number == which)
    else:
        named = select(tables.aliases.c.version_id).where(
            tables.aliases.c.model_id == tables.models.c.id, tables.aliases.c.name == which
        )
        query = query.where(tables.versions.c.id == named.scalar_subquery())
    row = session.execute(query).one_or_none()
    if row is not None:
        return row
    model_id(session, model)
    if which is None:
        raise NotFound(f"All versions of the model {model!r} are deleted; restore one.", field="version")
    if isinstance(which, int):
        raise NotFound(f"The model {model!r} has no version {which}.", field="version")
    raise no_alias(session, model, which)


def no_alias(session: Connection, model: str, alias: str) -> NotFound:
    """The error for an alias that there is not, with those that there are."""
    known = select(tables.aliases.c.name).join(tables.models).where(tables.models.c.name == model)
    names = ", ".join(session.execute(known.order_by(tables.aliases.c.name)).scalars()) or "none"
    return NotFound(f"The model {model!r} has no alias {alias!r}; it has {names}.", field="alias")


def model_id(session: Connection, model: str) -> int:
    """Raises NotFound."""
    id = session.execute(select(tables.models.c.id).where(tables.models.c.name == model)).scalar()
    if id is None:
        raise NotFound(f"There is no model {model!r}.", field="model")
    return id


def noun(row: Row[Any]) -> Version:
    """A row of :data:`VERSIONS` as a noun."""
    deprecated = deleted = parent = None
    if row.deprecated_time is not None:
        deprecated = Mark(time=row.deprecated_time, who=row.deprecated_who, why=row.deprecated_why)
    if row.deleted_time is not None:
        deleted = Mark(
            time=row.deleted_time, who=row.deleted_who, why=row.deleted_why, until=row.deleted_until
        )
    if row.parent_model is not None:
        parent = Parent(
            model=row.parent_model,
            number=row.parent_number,
            relation=row.relation,
            tradeoff=unpack_object(row.tradeoff_json),
        )
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
        aliases=tuple(sorted(row.aliases.split(","))) if row.aliases else (),
        deprecated=deprecated,
        deleted=deleted,
        parent=parent,
    )
