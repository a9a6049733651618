"""What each model takes of the store: as its files are counted, and as they are kept."""

from collections.abc import Mapping, Set
from typing import NamedTuple

from modelyard.core.struct import Noun
from modelyard.store.blobs import BlobStore
from modelyard.store.pieces import Pieces


class ModelUsage(Noun):
    """Bytes of one model: ``logical`` of its files (each once), ``own`` kept for it alone, ``shared`` kept for others
    too. What deleting it would give back is its own."""

    model: str
    blobs: int
    logical: int
    own: int
    shared: int


class StoreUsage(Noun):
    """All models, the largest first; bytes of all files, as they are kept, and of the cache, which may go."""

    models: tuple[ModelUsage, ...]
    logical: int
    stored: int
    cached: int
    packs: int
    place: str


class _Part(NamedTuple):
    """Something that is kept once: a piece, or what of a whole blob nobody has a piece of."""

    name: bytes
    size: int


def measure(blobs: BlobStore, pieces: Pieces, models: Mapping[str, Set[tuple[str, int]]]) -> StoreUsage:
    """Of ``models``: by name, the digests and sizes of its files."""
    parts = _parts(blobs, pieces, {sha256 for files in models.values() for sha256, _ in files})
    users: dict[bytes, int] = {}
    own_parts = {
        model: {part for sha256, _ in files for part in parts.get(sha256, ())}
        for model, files in models.items()
    }
    for found in own_parts.values():
        for part in found:
            users[part.name] = users.get(part.name, 0) + 1
    told = [
        ModelUsage(
            model=model,
            blobs=len(files),
            logical=sum(size for _, size in files),
            own=sum(part.size for part in own_parts[model] if users[part.name] == 1),
            shared=sum(part.size for part in own_parts[model] if users[part.name] > 1),
        )
        for model, files in models.items()
    ]
    objects = [found for prefix in ("objects", "packs") for found in blobs.place.objects(prefix)]
    return StoreUsage(
        models=tuple(sorted(told, key=lambda each: (-each.own - each.shared, each.model))),
        logical=sum(dict(file for files in models.values() for file in files).values()),
        stored=sum(found.size for found in objects),
        cached=sum(found.size for found in blobs.cache.files()),
        packs=sum(found.key.startswith("packs/") for found in objects),
        place=blobs.place.name,
    )


def _parts(blobs: BlobStore, pieces: Pieces, digests: Set[str]) -> dict[str, list[_Part]]:
    rows = {row.digest.hex(): row for row in pieces.blobs()}
    found: dict[str, list[_Part]] = {}
    for sha256 in digests:
        row = rows.get(sha256)
        if row is not None and not row.whole:
            found[sha256] = [_Part(kept.digest, kept.stored) for kept in pieces.composition(row.digest)]
        elif row is not None or blobs.has(sha256):
            size = blobs.size(sha256)
            others = (
                [] if row is None else [_Part(each.digest, each.stored) for each in pieces.living(row.pack)]
            )
            found[sha256] = [
                *others,
                _Part(bytes.fromhex(sha256), size - sum(each.size for each in others)),
            ]
    return found
