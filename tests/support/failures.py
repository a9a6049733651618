"""How often each failure is tried: by the test that tries it, and in the table of docs/reliability.md."""

DATABASES, PLACES = 2, 2  # SQLite and PostgreSQL; disk and bucket
SETTINGS = 2  # SQLite and disk; PostgreSQL and bucket

UPLOAD_KILLS = {"control plane": 6, "client": 12}  # in 200 uploads
WRITER_KILLS = 6
REGISTRY_KILLS = 8
FAULTY = 40  # uploads through a server of S3 that fails, drops and is slow
SENDERS = 4  # of the same bytes at once
USERS, TURNS = 3, 4  # that upload, deploy and delete beside collectors
AGAIN = 24  # times that the same bytes are sent beside a collector
MOVERS = 8  # of one alias at once
MOVE_STEPS = (
    "blob 2",
    "writing the rows",
    "writing modelyard.toml",
)  # at which a move of bytes is killed, each way
MOVE_LASTS = ("_take", "_replace_rows", "set_setting", "_set_aside")  # behind which it is cut off
JUMPS = (48 * 3600.0, -48 * 3600.0)  # seconds that a clock jumps

# By the words that a row of the table begins with.
ROWS = {
    "kill -9 of the control plane": UPLOAD_KILLS["control plane"] * SETTINGS,
    "kill -9 of clients": UPLOAD_KILLS["client"] * SETTINGS,
    "kill -9 of who writes": WRITER_KILLS * DATABASES * PLACES,
    "kill -9 of who moves aliases": REGISTRY_KILLS * DATABASES,
    "a server of S3 that answers 500": FAULTY * DATABASES,
    "several control planes that send the same bytes": SENDERS * DATABASES * PLACES,
    "uploads, deployments and deletions beside two collectors": USERS * TURNS * DATABASES * PLACES,
    "the same bytes sent by one control plane": AGAIN * DATABASES,
    "an alias moved by eight at once": DATABASES,
    "a move of bytes between disk and bucket": (2 * len(MOVE_STEPS) + len(MOVE_LASTS)) * DATABASES,
    "a clock that jumps": len(JUMPS) * DATABASES,
}
