"""A mirror behind a web server: the files of one in a folder or a bucket, as they lie there. Read alone."""

from pathlib import Path
from urllib.parse import quote, urlsplit

from modelyard.core.addresses import shown
from modelyard.core.errors import InvalidInput, NotFound, RejectedContent
from modelyard.core.manifest import FileEntry
from modelyard.package import https
from modelyard.package.address import check_web
from modelyard.package.download import download
from modelyard.package.uv import Progress
from modelyard.pipeline.mirror.manifest import LARGEST, MARK, manifest_name


class WebPlace:
    """Below the address ``base``. Raises InvalidInput for one that is not taken."""

    def __init__(self, base: str) -> None:
        check_web(base, field="MODELYARD_MIRROR")
        if urlsplit(base).query or urlsplit(base).fragment:
            raise InvalidInput("A mirror's address has no '?' and no '#'.", field="MODELYARD_MIRROR")
        self._base = base.rstrip("/")
        self.address = shown(self._base)

    def mark(self) -> bytes | None:
        return self._read(MARK)

    def manifest(self, name: str) -> bytes | None:
        return self._read(manifest_name(name))

    def get(self, name: str, file: FileEntry, to: Path, progress: Progress) -> None:
        to.parent.mkdir(parents=True, exist_ok=True)
        try:
            download(
                f"{self._base}/{quote(f'{name}/{file.path}')}", to.parent, name=to.name, sha256=file.sha256, size=file.size,
                progress=progress,
            )  # fmt: skip
        except NotFound as error:
            raise RejectedContent(f"The mirror {self.address} has lost {name}/{file.path}.") from error

    def _read(self, name: str) -> bytes | None:
        try:
            return https.read_small(f"{self._base}/{quote(name)}", most=LARGEST)
        except NotFound:
            return None
