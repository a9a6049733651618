"""What a shared database should be, and is not: for the doctor."""

import time
from typing import Final

from sqlalchemy import text

from modelyard.store.database import REVISION, Database

_OLDEST: Final = 130_000  # PostgreSQL 13, as `server_version_num` says it
_EACH: Final = 20  # connections that a control plane may take
_SKEW: Final = 5.0  # seconds


def complaints(database: Database) -> list[str]:
    """Sentences that say what is wrong and what to do; none of a home's own file. Raises Unavailable."""
    if not database.is_shared:
        return []
    names = (
        "server_version_num", "server_version", "server_encoding", "fsync", "synchronous_commit",
        "full_page_writes", "max_connections", "superuser_reserved_connections", "transaction_read_only",
    )  # fmt: skip
    with database.session() as session:
        told = {
            name: str(session.execute(text("SELECT current_setting(:name)"), {"name": name}).scalar_one())
            for name in names
        }
        taken = session.execute(
            text("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'")
        )
        connections = int(taken.scalar_one())
    found: list[str] = []
    if int(told["server_version_num"]) < _OLDEST:
        found.append(f"It is PostgreSQL {told['server_version']}; 13 is the oldest that is known to work.")
    if told["server_encoding"] != "UTF8":
        found.append(f"Its encoding is {told['server_encoding']}; create it with ENCODING 'UTF8'.")
    if told["transaction_read_only"] == "on":
        found.append(
            "It is read-only: name the primary server, or see why its disk or its settings forbid writing."
        )
    lax = [name for name in ("fsync", "synchronous_commit", "full_page_writes") if told[name] == "off"]
    if lax:
        found.append(
            f"{' and '.join(lax)} off: a crash of its machine may lose what was acknowledged. Set to on."
        )
    free = int(told["max_connections"]) - int(told["superuser_reserved_connections"]) - connections
    if free < _EACH:
        found.append(
            f"It has {max(0, free)} of {told['max_connections']} connections left, and a control plane may take "
            f"{_EACH}; raise max_connections."
        )
    if (skew := abs(database.time() - time.time())) > _SKEW:
        found.append(f"Its clock and this machine's are {skew:.0f} s apart; set both by NTP.")
    if (revision := database.revision()) != REVISION:
        found.append(
            f"Its tables are of revision {revision or 'none'}, not {REVISION}; the next `modelyard up` brings them there."
        )
    return found
