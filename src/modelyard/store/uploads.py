"""Uploads: manifests whose bytes are still on their way. While the row is there, its blobs are kept."""

import builtins
import time
from collections.abc import Callable

from sqlalchemy import delete, insert, select, update

from modelyard.core.access import DEFAULT_PROJECT
from modelyard.core.errors import NotFound
from modelyard.core.manifest import FileEntry, Manifest, manifest_of
from modelyard.core.struct import Noun
from modelyard.store import possession, projects
from modelyard.store.database import Database
from modelyard.store.nouns import new_id, pack, unpack
from modelyard.store.tables import upload_blobs, uploads


class Upload(Noun):
    """An upload. Times are seconds since the epoch; after ``expires`` it is forgotten. While it is ``proving``, only
    bytes that its project has count as there."""

    id: str
    manifest: Manifest
    created: float
    expires: float
    project: str = DEFAULT_PROJECT
    proving: bool = False


class Uploads:
    """The uploads of one database. ``lifetime`` is in seconds."""

    def __init__(
        self, database: Database, *, lifetime: float = 24 * 3600.0, clock: Callable[[], float] = time.time
    ) -> None:
        self._database = database
        self._lifetime = lifetime
        self._clock = clock

    def create(
        self, files: builtins.list[FileEntry], *, project: str = DEFAULT_PROJECT, proving: bool = False
    ) -> Upload:
        """A new upload. Raises InvalidInput for files that cannot make a version, NotFound for a project that is not
        there."""
        now = self._clock()
        upload = Upload(
            id=new_id(),
            manifest=manifest_of(files),
            created=now,
            expires=now + self._lifetime,
            project=project,
            proving=proving,
        )
        with self._database.begin(f"upload {upload.id}") as session:
            if not projects.exists(session, project):
                raise projects.no_project(project)
            session.execute(
                insert(uploads).values(
                    id=upload.id,
                    manifest_json=pack(upload.manifest),
                    created=upload.created,
                    expires=upload.expires,
                    project=project,
                    proving=proving,
                )
            )
        return upload

    def get(self, id: str) -> Upload:
        """Raises NotFound, also for one that has expired and was forgotten."""
        with self._database.session() as session:
            row = session.execute(select(uploads).where(uploads.c.id == id)).one_or_none()
        if row is None:
            raise NotFound(
                f"There is no upload {id!r}; it was finished, deleted or has expired. Start a new one.",
                field="upload",
            )
        manifest = unpack(row.manifest_json, Manifest)
        return Upload(
            id=row.id,
            manifest=manifest,
            created=row.created,
            expires=row.expires,
            project=row.project,
            proving=row.proving,
        )

    def proven(self, upload: Upload) -> set[str]:
        """The digests of its files that need not be sent when their bytes are here: all, or those that its project
        has."""
        digests = {file.sha256 for file in upload.manifest.files}
        if not upload.proving:
            return digests
        with self._database.session() as session:
            return possession.had(session, upload.project, digests)

    def came(self, upload: Upload, sha256: str) -> None:
        """The bytes of a file of an upload have come; whose they are is kept as long as the upload is."""
        if not upload.proving:
            return
        row = {"upload_id": upload.id, "sha256": sha256}
        there = (upload_blobs.c.upload_id == upload.id) & (upload_blobs.c.sha256 == sha256)
        with self._database.begin(f"upload {upload.id}") as session:
            living = session.execute(select(uploads.c.id).where(uploads.c.id == upload.id)).first()
            if living is not None and session.execute(select(upload_blobs).where(there)).first() is None:
                session.execute(insert(upload_blobs).values(row))

    def renew(self, id: str) -> bool:
        """Keep an upload for its whole lifetime from now: something is at it. Whether it was not forgotten yet."""
        with self._database.begin() as session:
            expires = self._clock() + self._lifetime
            renewed = session.execute(update(uploads).where(uploads.c.id == id).values(expires=expires))
            return renewed.rowcount == 1

    def delete(self, id: str) -> None:
        """Forget an upload; nothing happens when it is gone already (it may have become a version)."""
        with self._database.begin(f"upload {id}") as session:
            session.execute(delete(uploads).where(uploads.c.id == id))

    def expire(self, now: float) -> int:
        """Forget the uploads whose time is over; how many there were."""
        with self._database.begin("uploads that expire") as session:
            return session.execute(delete(uploads).where(uploads.c.expires <= now)).rowcount

    def referenced_digests(self) -> set[str]:
        """SHA-256 of every blob that an upload waits for or has."""
        with self._database.session() as session:
            rows = session.execute(select(uploads.c.manifest_json)).scalars().all()
        return {file.sha256 for row in rows for file in unpack(row, Manifest).files}
