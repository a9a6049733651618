"""Whose an endpoint's name is, where several homes share a database: one home serves it, deployed and far."""

from collections.abc import Collection

from sqlalchemy import Connection, select, update

from modelyard.core.errors import Conflict
from modelyard.store import tables
from modelyard.store.audit import Audit


def home_of(session: Connection, name: str) -> tuple[bool, str | None]:
    """Whether the name is taken (by a deployment or by remotes), and by which home."""
    for column, home in (
        (tables.endpoints.c.name, tables.endpoints.c.home),
        (tables.remotes.c.endpoint, tables.remotes.c.home),
    ):
        row = session.execute(select(home).where(column == name)).one_or_none()
        if row is not None:
            return True, row[0]
    return False, None


def require_here(session: Connection, name: str, home: str | None, gone: Collection[str]) -> bool:
    """Raises Conflict when the name is another home's that lives; whether it is one's that is gone."""
    taken, former = home_of(session, name)
    if home is None or not taken or former == home:
        return False
    if former is not None and former not in gone:
        raise Conflict(
            f"The endpoint {name!r} is served by another home of this database ({_place(session, former)}); deploy "
            "it there, or delete it first.",
            field="endpoint",
        )
    return True


def move_here(
    session: Connection, name: str, home: str | None, gone: Collection[str], audit: Audit, who: str
) -> None:
    """Make the name this home's, in a transaction about what is wanted; nothing when it is, or is new.

    What a gone home served with is not here: it is retired, and the next revision is the first one here.
    Raises Conflict when it is another home's that lives.
    """
    if not require_here(session, name, home, gone):
        return
    former = home_of(session, name)[1]
    endpoints, traffic, deployments = tables.endpoints, tables.traffic, tables.deployments
    row = session.execute(select(endpoints.c.id).where(endpoints.c.name == name)).one_or_none()
    if row is not None:
        session.execute(update(endpoints).where(endpoints.c.id == row.id).values(home=home))
        session.execute(update(traffic).where(traffic.c.endpoint_id == row.id).values(serving=None))
        session.execute(
            update(deployments)
            .where(deployments.c.endpoint_id == row.id, deployments.c.state.not_in(("failed", "retired")))
            .values(state="retired", reason="Its home is gone.")
        )
    session.execute(update(tables.remotes).where(tables.remotes.c.endpoint == name).values(home=home))
    audit.record_wanted(
        who, "endpoint.move", name, f"from the home {former}, which is gone, to {home}", session
    )


def _place(session: Connection, id: str) -> str:
    row = session.execute(select(tables.homes).where(tables.homes.c.id == id)).one_or_none()
    return id if row is None else f"{row.host}, {row.url}" if row.url else row.host
