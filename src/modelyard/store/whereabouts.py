"""Where the bytes lie that a shared database speaks of: one place for all homes that use it."""

import contextlib
import os
import secrets
from pathlib import Path

from sqlalchemy import Connection, delete, insert, select

from modelyard.core.errors import Conflict
from modelyard.host.files import write_whole
from modelyard.store.database import Database
from modelyard.store.tables import whereabouts

_FOLDER = "folder "


def folder_of(root: Path) -> str:
    """How the blobs under ``root`` are told from those in other folders, wherever it is mounted."""
    kept = root / "id"
    if not kept.is_file():
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        new = root / f".id-{secrets.token_hex(8)}"
        write_whole(new, secrets.token_hex(16).encode(), durable=True)
        with contextlib.suppress(FileExistsError):  # another home of the same folder was faster
            os.link(new, kept)
        new.unlink()
    return _FOLDER + kept.read_text().strip()


def require(database: Database, place: str) -> None:
    """The bytes of ``database`` are in ``place`` (a bucket, or :func:`folder_of`); the first one to say so is believed.

    Raises Conflict when they are elsewhere: rows of pieces that are not there would be taken for pieces that are.
    """
    with database.session() as session:
        there = noted(session)
    if there == place:
        return
    if there is None:
        with database.begin("whereabouts") as session:
            there = noted(session)
            if there is None:
                note(session, place)
                return
    if there == place:
        return
    ours = "in a folder of its own" if place.startswith(_FOLDER) else f"in {place}"
    if there.startswith(_FOLDER):
        told, todo = (
            "in a folder",
            "mount that folder as `blobs` of this home, and let the setting blobs be none",
        )
    else:
        told, todo = f"in {there}", f"let the setting blobs be {there}"
    raise Conflict(
        f"The bytes of the models in {database.shown} lie {told}, and this home would look for them {ours}: {todo}. "
        "See: docs/guides/team.md",
        field="blobs",
    )


def noted(session: Connection) -> str | None:
    """Where they are, as far as anybody has said."""
    return session.execute(select(whereabouts.c.place)).scalar_one_or_none()


def note(session: Connection, place: str) -> None:
    """From now on they are there."""
    session.execute(delete(whereabouts))
    session.execute(insert(whereabouts).values(id=1, place=place))
