"""The words of each listing, found again by free text: FTS5 on SQLite, tsvector and GIN on PostgreSQL.

Both get words that were folded and cut here, so that both find the same. PostgreSQL keeps them without positions, which
nobody asks for, and beside their row instead of in a table of large values: a search that looks at many listings in order
reads their words, and ten times as fast.
"""

import re
import unicodedata
from typing import Final

from sqlalchemy import ColumnElement, Connection, column, exists, literal, select, table, text

TABLE: Final = "listings_words"
# What the databases make beside the tables of ``tables``: nothing there describes them.
OWN: Final = frozenset(
    {TABLE, *(f"{TABLE}_{part}" for part in ("data", "idx", "content", "docsize", "config"))}
)

_MOST = 4000  # different words of a listing: a long README's later ones are not found
_LONGEST = 64
_fts = table(TABLE, column("rowid"), column(TABLE), column("version_id"), column("words"))


def words_of(text: str) -> list[str]:
    """The words of ``text`` in the form that is compared: lower case, without accents, letters and digits alone."""
    decomposed = unicodedata.normalize("NFKD", text)
    plain = "".join(each for each in decomposed if not unicodedata.combining(each)).lower()
    return [word[:_LONGEST] for word in re.findall(r"[^\W_]+", plain)]


def put(session: Connection, version_id: int, text_: str) -> None:
    """The words of a listing, in place of those that it had."""
    drop(session, version_id)
    words = " ".join(list(dict.fromkeys(words_of(text_)))[:_MOST])
    if session.dialect.name == "postgresql":
        into = f"INSERT INTO {TABLE} (version_id, words) VALUES (:id, strip(to_tsvector('simple', :words)))"
    else:
        into = f"INSERT INTO {TABLE} (rowid, words) VALUES (:id, :words)"
    session.execute(text(into), {"id": version_id, "words": words})


def drop(session: Connection, version_id: int) -> None:
    """Forget the words of a listing."""
    name = "version_id" if session.dialect.name == "postgresql" else "rowid"
    session.execute(text(f"DELETE FROM {TABLE} WHERE {name} = :id"), {"id": version_id})


def matching(
    session: Connection, asked: str, version_id: ColumnElement[int], *, likely: bool = False
) -> ColumnElement[bool] | None:
    """Whether every word of ``asked`` begins a word of the listing; None when there is no word in it.

    By an index of words; where the words are ``likely`` SQLite looks into each listing instead, because its index
    would list them all before the first is shown. PostgreSQL knows by itself.
    """
    words = words_of(asked)[:32]
    if not words:
        return None
    if session.dialect.name == "postgresql":
        query = " & ".join(f"{word}:*" for word in words)
        found = select(_fts.c.version_id).where(
            text("words @@ to_tsquery('simple', :words_asked)").bindparams(words_asked=query)
        )
    elif likely:
        held = literal(" ") + _fts.c.words
        return exists().where(_fts.c.rowid == version_id, *(held.like(f"% {word}%") for word in words))
    else:
        query = " ".join(f'"{word}"*' for word in words)
        found = select(_fts.c.rowid).where(_fts.c[TABLE].op("MATCH")(query))
    return version_id.in_(found)
