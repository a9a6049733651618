"""The tables of the database, as SQLAlchemy Core sees them; ``migrations`` builds the same ones.

Times are seconds since the epoch, sizes are bytes; columns named ``*_json`` hold nouns as JSON text.
"""

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
)

metadata: Final = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)

# Names are ordered by their bytes, whatever language the server's database was made in.
Name: Final = String(63).with_variant(String(63, collation="C"), "postgresql")


def _project() -> Column[str]:
    """Which project a row belongs to. The one that is always there has no row of its own to point at."""
    return Column("project", Name, nullable=False, server_default="default")


projects: Final = Table(
    "projects",
    metadata,
    Column("name", Name, primary_key=True),
    Column("created", Float, nullable=False),
    Column("who", String(255), nullable=False),
)

# ``digest`` is the SHA-256 of a secret of 256 random bits; a key that is revoked keeps its row, and its name.
api_keys: Final = Table(
    "api_keys",
    metadata,
    Column("id", String(16), primary_key=True),
    Column("name", Name, nullable=False, unique=True),
    Column("digest", String(64), nullable=False, unique=True),
    Column("project", Name),
    Column("role", String(16), nullable=False),
    Column("endpoints_json", Text, nullable=False),
    Column("created", Float, nullable=False),
    Column("who", String(255), nullable=False),
    Column("expires", Float),
    Column("used", Float),
    Column("revoked", Float),
)

models: Final = Table(
    "models",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Name, nullable=False, unique=True),
    Column("created", Float, nullable=False),
    # The highest number that a version of it ever had: one that was deleted is not given again.
    Column("last", Integer, nullable=False, server_default="0"),
    _project(),
    Index("ix_models_project", "project"),
)

versions: Final = Table(
    "versions",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("model_id", Integer, ForeignKey("models.id", ondelete="CASCADE"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("manifest_json", Text, nullable=False),
    Column("analysis_json", Text, nullable=False),
    Column("trusted", Boolean, nullable=False),
    Column("created", Float, nullable=False),
    Column("trusted_by", String(255)),
    Column("trusted_because", Text),
    Column("quarantine", Text),
    UniqueConstraint("model_id", "number"),
    UniqueConstraint("model_id", "digest"),
)

# Which bytes the versions of a project refer to; made from the manifests (``store/possession.py``).
version_blobs: Final = Table(
    "version_blobs",
    metadata,
    Column("version_id", Integer, ForeignKey("versions.id", ondelete="CASCADE"), primary_key=True),
    Column("digest", LargeBinary(32), primary_key=True),
    Index("ix_version_blobs_digest", "digest"),
)

# What was said of a version after it was made: deprecated, deleted (gone after ``until``).
marks: Final = Table(
    "marks",
    metadata,
    Column("version_id", Integer, ForeignKey("versions.id", ondelete="CASCADE"), primary_key=True),
    Column("mark", String(16), primary_key=True),
    Column("time", Float, nullable=False),
    Column("who", String(255), nullable=False),
    Column("why", Text, nullable=False),
    Column("until", Float),
    Index("ix_marks_mark_until", "mark", "until"),
)

aliases: Final = Table(
    "aliases",
    metadata,
    Column("model_id", Integer, ForeignKey("models.id", ondelete="CASCADE"), primary_key=True),
    Column("name", Name, primary_key=True),
    Column("version_id", Integer, ForeignKey("versions.id"), nullable=False),
    Index("ix_aliases_version_id", "version_id"),
)

# By name and number, as the audit: history stays when what it tells of is gone.
alias_moves: Final = Table(
    "alias_moves",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("time", Float, nullable=False),
    Column("model", Name, nullable=False),
    Column("alias", Name, nullable=False),
    Column("version", Integer),
    Column("former", Integer),
    Column("digest", String(64)),
    Column("who", String(255), nullable=False),
    Column("why", Text, nullable=False),
    Index("ix_alias_moves_model_alias", "model", "alias"),
)

lineage: Final = Table(
    "lineage",
    metadata,
    Column("version_id", Integer, ForeignKey("versions.id", ondelete="CASCADE"), primary_key=True),
    Column("parent_id", Integer, ForeignKey("versions.id"), nullable=False),
    Column("relation", String(32), nullable=False),
    Column("tradeoff_json", Text),
    Column("time", Float, nullable=False),
    Column("who", String(255), nullable=False),
    Index("ix_lineage_parent_id", "parent_id"),
)

cards: Final = Table(
    "cards",
    metadata,
    Column("model_id", Integer, ForeignKey("models.id", ondelete="CASCADE"), primary_key=True),
    Column("card_json", Text, nullable=False),
    Column("changed", Float, nullable=False),
    Column("who", String(255), nullable=False),
)

card_tags: Final = Table(
    "card_tags",
    metadata,
    Column("model_id", Integer, ForeignKey("models.id", ondelete="CASCADE"), primary_key=True),
    Column("tag", String(64), primary_key=True),
    Index("ix_card_tags_tag_model_id", "tag", "model_id"),
)

readmes: Final = Table(
    "readmes",
    metadata,
    Column("version_id", Integer, ForeignKey("versions.id", ondelete="CASCADE"), primary_key=True),
    Column("text", Text, nullable=False),
)

# What was measured of a version: its own tables of figures, without the version as their source.
version_metrics: Final = Table(
    "version_metrics",
    metadata,
    Column("version_id", Integer, ForeignKey("versions.id", ondelete="CASCADE"), primary_key=True),
    Column("tables_json", Text, nullable=False),
)

# The single numbers that search compares, made anew with the listing: of the version, of what its lineage says, and of
# its model. ``highest`` and ``lowest`` tell one of those with the same name, which may be of several data.
figures: Final = Table(
    "figures",
    metadata,
    Column("version_id", Integer, ForeignKey("versions.id", ondelete="CASCADE"), primary_key=True),
    Column("name", String(100), primary_key=True),
    Column("data", String(100), primary_key=True),
    Column("value", Float, nullable=False),
    Column("highest", Boolean, nullable=False),
    Column("lowest", Boolean, nullable=False),
    Index("ix_figures_name_value", "name", "value", "version_id"),
    Index("ix_figures_name_data_value", "name", "data", "value", "version_id"),
)

# What search reads: a narrow row for each version, made anew from the other tables by everything that changes them
# (``store/relist.py``). Unknown parameters are -1, so that every page has an order. The words of free text stand
# beside it, in whatever each database has for that (``store/words.py``).
listings: Final = Table(
    "listings",
    metadata,
    Column("version_id", Integer, ForeignKey("versions.id", ondelete="CASCADE"), primary_key=True),
    Column("model_id", Integer, nullable=False),
    Column("model", Name, nullable=False),
    Column("number", Integer, nullable=False),
    Column("latest", Boolean, nullable=False),
    Column("deprecated", Boolean, nullable=False),
    Column("deleted", Boolean, nullable=False),
    Column("quarantined", Boolean, nullable=False),
    Column("format", String(64), nullable=False),
    Column("adapter", String(64), nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("parameters", BigInteger, nullable=False),
    Column("precision", String(32)),
    Column("architecture", String(200)),
    Column("task", String(64)),
    Column("category", String(64)),
    Column("licence", String(200)),
    Column("commercial", Boolean),
    Index("ix_listings_model_id", "model_id"),
    Index("ix_listings_model_version_id", "model", "version_id"),
    Index("ix_listings_size_version_id", "size", "version_id"),
    Index("ix_listings_parameters_version_id", "parameters", "version_id"),
    Index("ix_listings_format", "format"),
    Index("ix_listings_precision", "precision"),
    Index("ix_listings_architecture", "architecture"),
    Index("ix_listings_task", "task"),
    Index("ix_listings_category", "category"),
    Index("ix_listings_licence", "licence"),
)

# One row for each source, uploader and client: ``key`` is their digest.
provenance: Final = Table(
    "provenance",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("version_id", Integer, ForeignKey("versions.id", ondelete="CASCADE"), nullable=False),
    Column("key", String(64), nullable=False),
    Column("digest", String(64), nullable=False),
    Column("arrival_json", Text, nullable=False),
    Column("first", Float, nullable=False),
    Column("last", Float, nullable=False),
    UniqueConstraint("version_id", "key"),
)

# ``digest`` is that of the bundle; ``place`` the path in the version that it came at, empty when it was added later.
signatures: Final = Table(
    "signatures",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("version_id", Integer, ForeignKey("versions.id", ondelete="CASCADE"), nullable=False),
    Column("digest", String(64), nullable=False),
    Column("bundle", Text, nullable=False),
    Column("place", String(1024), nullable=False),
    Column("who", String(255), nullable=False),
    Column("created", Float, nullable=False),
    UniqueConstraint("version_id", "digest"),
)

# Of bytes, not of versions: the same file in another version has been looked at already.
verdicts: Final = Table(
    "verdicts",
    metadata,
    Column("sha256", String(64), primary_key=True),
    Column("scanner", String(32), primary_key=True),
    Column("version", String(128), nullable=False),
    Column("verdict", String(16), nullable=False),
    Column("findings_json", Text, nullable=False),
    Column("more", Integer, nullable=False),
    Column("time", Float, nullable=False),
)

uploads: Final = Table(
    "uploads",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("manifest_json", Text, nullable=False),
    Column("created", Float, nullable=False),
    Column("expires", Float, nullable=False),
    _project(),
    # Whoever sends it has to have the bytes, also where another project has them.
    Column("proving", Boolean, nullable=False, server_default=false()),
)

# Of uploads that are proving: the files whose bytes have come.
upload_blobs: Final = Table(
    "upload_blobs",
    metadata,
    Column("upload_id", String(32), ForeignKey("uploads.id", ondelete="CASCADE"), primary_key=True),
    Column("sha256", String(64), primary_key=True),
)

endpoints: Final = Table(
    "endpoints",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Name, nullable=False, unique=True),
    Column("created", Float, nullable=False),
    Column("home", String(32)),
    _project(),
)

# A deployment names its version instead of pointing at it: a retired one is history, and does not
# keep its model from being deleted.
deployments: Final = Table(
    "deployments",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("endpoint_id", Integer, ForeignKey("endpoints.id", ondelete="CASCADE"), nullable=False),
    Column("revision", Integer, nullable=False),
    Column("model", String(63), nullable=False),
    Column("version", Integer, nullable=False),
    Column("settings_json", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("environment", String(64)),
    Column("reason", Text),
    Column("created", Float, nullable=False),
    UniqueConstraint("endpoint_id", "revision"),
    UniqueConstraint("endpoint_id", "id"),
    Index("ix_deployments_model", "model"),
)

# What the environments that deployments have were built of.
lockfiles: Final = Table(
    "lockfiles",
    metadata,
    Column("environment", String(64), primary_key=True),
    Column("kept", Float, nullable=False),
    Column("lockfile_json", Text, nullable=False),
)

# Apart from ``endpoints`` so that no two tables point at each other, and with both columns in the
# key so that an endpoint can only be served by a deployment that exists and is its own.
traffic: Final = Table(
    "traffic",
    metadata,
    Column("endpoint_id", Integer, ForeignKey("endpoints.id", ondelete="CASCADE"), primary_key=True),
    Column("wanted", String(32), nullable=False),
    Column("serving", String(32)),
    ForeignKeyConstraint(["endpoint_id", "wanted"], ["deployments.endpoint_id", "deployments.id"]),
    ForeignKeyConstraint(["endpoint_id", "serving"], ["deployments.endpoint_id", "deployments.id"]),
)

# By name, not by an endpoint's row: remotes serve a name also where nothing is deployed.
remotes: Final = Table(
    "remotes",
    metadata,
    Column("endpoint", Name, primary_key=True),
    Column("route_json", Text, nullable=False),
    Column("created", Float, nullable=False),
    Column("home", String(32)),
    _project(),
)

jobs: Final = Table(
    "jobs",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("id", String(32), nullable=False, unique=True),
    Column("kind", String(32), nullable=False),
    Column("subject", String(255), nullable=False),
    Column("state", String(16), nullable=False),
    Column("stages_json", Text, nullable=False),
    Column("stage", String(64)),
    Column("parameters_json", Text, nullable=False),
    Column("result_json", Text),
    Column("error_json", Text),
    Column("created", Float, nullable=False),
    Column("updated", Float, nullable=False),
    Column("owner", String(255)),
    Column("lease", Float),
    Column("home", String(32)),
    _project(),
    Index("ix_jobs_state", "state"),
)

job_events: Final = Table(
    "job_events",
    metadata,
    Column("job_number", Integer, ForeignKey("jobs.number", ondelete="CASCADE"), primary_key=True),
    Column("sequence", Integer, primary_key=True, autoincrement=False),
    Column("event_json", Text, nullable=False),
)

audit: Final = Table(
    "audit",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("time", Float, nullable=False),
    Column("who", String(255), nullable=False),
    Column("what", String(64), nullable=False),
    Column("subject", String(255), nullable=False),
    Column("why", Text, nullable=False),
    Column("project", Name),  # empty: of the whole installation
    Index("ix_audit_project", "project"),
)

# The homes whose control planes share this database. ``home`` of an endpoint, of remotes or of a job is one of
# them: whose node serves it, whose control plane does it. In a home's own database it is empty.
homes: Final = Table(
    "homes",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("host", String(255), nullable=False),
    Column("url", Text),
    Column("node_url", Text),
    Column("created", Float, nullable=False),
    Column("seen", Float, nullable=False),
)

counters: Final = Table(
    "counters",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("value", Integer, nullable=False),
)

# What lies in the object store below a version's files. Digests are the 32 bytes of SHA-256.
# A whole blob's pack is the blob itself, in order; others hold pieces of several and an index.
packs: Final = Table(
    "packs",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("key", String(128), nullable=False, unique=True),
    Column("size", BigInteger, nullable=False),
    Column("created", Float, nullable=False),
)

pieces: Final = Table(
    "pieces",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("digest", LargeBinary(34), nullable=False, unique=True),
    Column("pack_id", Integer, ForeignKey("packs.id"), nullable=False),
    Column("offset", BigInteger, nullable=False),
    Column("stored", Integer, nullable=False),
    Column("size", Integer, nullable=False),
    Column("codec", Integer, nullable=False),
    Index("ix_pieces_pack_id", "pack_id"),
)

# ``pack_id``: of a whole blob its own pack, of a pieced one the pack that has its composition.
blobs: Final = Table(
    "blobs",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("digest", LargeBinary(32), nullable=False, unique=True),
    Column("size", BigInteger, nullable=False),
    Column("whole", Boolean, nullable=False),
    Column("pack_id", Integer, ForeignKey("packs.id"), nullable=False),
    Column("created", Float, nullable=False),
    Column("used", Float, nullable=False),
    Index("ix_blobs_pack_id", "pack_id"),
)

blob_pieces: Final = Table(
    "blob_pieces",
    metadata,
    Column("blob_id", Integer, ForeignKey("blobs.id", ondelete="CASCADE"), primary_key=True),
    Column("sequence", Integer, primary_key=True, autoincrement=False),
    Column("piece_id", Integer, ForeignKey("pieces.id"), nullable=False),
    Index("ix_blob_pieces_piece_id", "piece_id"),
)

# Of blobs that versions refer to. What has no row was compared when it came; ``trouble_json`` is what is wrong since.
blob_checks: Final = Table(
    "blob_checks",
    metadata,
    Column("digest", LargeBinary(32), primary_key=True),
    Column("checked", Float, nullable=False),
    Column("trouble_json", Text),
)

# One row: the bucket, or the folder, in which all of that lies.
whereabouts: Final = Table(
    "whereabouts",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("place", Text, nullable=False),
)
