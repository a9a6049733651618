"""Where the bytes of a version came from, who brought them, with what, and when."""

import re
from typing import Literal

import msgspec

from modelyard.core.addresses import shown
from modelyard.core.errors import InvalidInput
from modelyard.core.struct import Noun

SourceKind = Literal[
    "path", "object", "hub", "git", "url", "package", "catalog", "added", "mirror", "mlflow", "upload",
]  # fmt: skip
MOST_DEEP = 4


class Source(Noun):
    """Where bytes came from. ``name`` by ``kind``: of a *path* the file's or folder's name (not where it lies), of
    a Python *object* its class, of the *hub* ``owner/name``, of *git*, *url* and *mirror* the address without its
    secrets, of a *package* the requirement, of the *catalog* the entry, of what was *added* its name there, of *mlflow*
    ``models/NAME/VERSION`` or ``runs/RUN/PATH`` (``revision``: the run; ``of``: the server). *upload*: whoever
    called the API did not say.

    ``revision`` is a commit, ``sha256`` the digest of what was downloaded, ``of`` where an entry of the catalog or
    an added project has its files from.
    """

    kind: SourceKind
    name: str = ""
    revision: str | None = None
    sha256: str | None = None
    of: "Source | None" = None

    @property
    def told(self) -> str:
        """For people, on one line."""
        what = {"path": "the file or folder", "object": "a Python object", "hub": "the hub's", "url": "", "git": "git",
                "package": "the package", "catalog": "the catalog's", "added": "modelyard add", "mirror": "the mirror", "mlflow": "MLflow's",
                "upload": "an upload through the API"}[self.kind]  # fmt: skip
        parts = [" ".join(filter(None, (what, self.name)))]
        if self.revision is not None:
            parts.append(f"at {self.revision[:12]}")
        if self.sha256 is not None:
            parts.append(f"(SHA-256 {self.sha256[:12]}…)")
        if self.of is not None:
            parts.append(f"from {self.of.told}")
        return " ".join(parts)


class Arrival(Noun):
    """One coming of bytes. ``uploader`` is who that was as far as the platform knows; ``user`` who the client
    says, which nothing proves; ``client`` the program with its version."""

    source: Source
    uploader: str = ""
    user: str = ""
    client: str = ""


class Provenance(Arrival, kw_only=True):
    """An arrival of the files of ``digest`` (a version's), with the first and the last time of one just like it,
    in seconds since the epoch."""

    digest: str
    first: float
    last: float


def cleaned(source: Source, depth: int = 1) -> Source:
    """``source`` as it is kept: no secrets in its addresses. Raises InvalidInput for one nested too deeply."""
    if depth > MOST_DEEP:
        raise InvalidInput(f"A source has at most {MOST_DEEP} others behind it.", field="source.of")
    name = source.name
    if "://" in name or (source.kind in ("git", "url", "mirror") and "@" in name):
        name = shown(name)
    if source.kind in ("path", "object"):
        name = re.split(r"[/\\]", name.rstrip("/\\"))[-1]
    of = None if source.of is None else cleaned(source.of, depth + 1)
    return msgspec.structs.replace(source, name=name, of=of)
