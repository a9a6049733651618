"""What tests of blobs do again and again."""

from pathlib import Path

from modelyard.core.manifest import FileEntry, Manifest
from modelyard.store.blobs import BlobStore


def put(blobs: BlobStore, files: dict[str, bytes], *, settle: bool = True) -> Manifest:
    """Keep these files, and look for pieces of them that are there already."""
    entries = [(path, blobs.put([data])) for path, data in sorted(files.items())]
    manifest = Manifest(
        files=tuple(FileEntry(path=path, size=put.size, sha256=put.sha256) for path, put in entries)
    )
    if settle:
        blobs.settle(manifest)
    return manifest


def stored(blobs: BlobStore) -> int:
    """Bytes that are kept, without those that can be made anew."""
    return sum(found.size for prefix in ("objects", "packs") for found in blobs.place.objects(prefix))


def bytes_of(blobs: BlobStore, manifest: Manifest) -> dict[str, bytes]:
    """The files, read from where they are kept."""
    return {file.path: b"".join(blobs.open(file.sha256)) for file in manifest.files}


def damage(path: Path, place: int) -> None:
    """Flip a bit."""
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(place)
        byte = file.read(1)[0]
        file.seek(place)
        file.write(bytes([byte ^ 1]))


def spoil(blobs: BlobStore, key: str, offset: int) -> None:
    """Flip a bit of an object, wherever it lies."""
    data = bytearray(blobs.place.read(key, 0, blobs.place.size(key)))
    data[offset] ^= 1
    place = blobs.incoming()
    place.write_bytes(data)
    blobs.place.keep(place, key)
    place.unlink(missing_ok=True)
