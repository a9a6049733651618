"""The store as people see it: what each model takes, and whether everything is what it should be."""

from modelyard.control.answers import StoreChecked, StoreTrouble
from modelyard.control.platform import Platform
from modelyard.store.checking import Check
from modelyard.store.usage import StoreUsage, measure


def usage(platform: Platform) -> StoreUsage:
    """What each model takes."""
    models: dict[str, set[tuple[str, int]]] = {}
    for _, model, _, manifest in platform.versions.manifests():
        models.setdefault(model, set()).update((file.sha256, file.size) for file in manifest.files)
    return measure(platform.blobs, platform.pieces, models)


def verify(platform: Platform, *, deep: bool, repair: bool, after: str, seconds: float) -> StoreChecked:
    """Look at the blobs of all versions behind the digest ``after``, for so many seconds; name who uses what is
    wrong."""
    sizes: dict[str, int] = {}
    users: dict[str, list[str]] = {}
    for _, model, number, manifest in platform.versions.manifests():
        for file in manifest.files:
            sizes[file.sha256] = file.size
            users.setdefault(file.sha256, []).append(f"{model}/{number}/{file.path}")
    check = Check(platform.blobs, platform.pieces, deep=deep, repair=repair)
    found = check.run(sizes, after=after, seconds=seconds)
    return StoreChecked(
        blobs=found.blobs,
        bytes=found.bytes,
        all_blobs=len(sizes),
        all_bytes=sum(sizes.values()),
        troubles=tuple(
            StoreTrouble(
                kind=each.kind, sha256=each.sha256, place=each.place, message=each.message,
                repaired=each.repaired, used_by=tuple(users[each.sha256]),
            )
            for each in found.troubles
        ),
        after=found.last,
    )  # fmt: skip
