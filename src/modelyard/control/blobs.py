"""The store as people see it: what each model takes, and whether everything is what it should be."""

from modelyard.control.answers import StoreAnswer, StoreChecked, StoreFreshness, StoreTrouble
from modelyard.control.platform import Platform
from modelyard.store.checking import Check, Trouble
from modelyard.store.usage import measure


def usage(platform: Platform) -> StoreAnswer:
    """What each model takes, and how much of it was read and compared lately."""
    models: dict[str, set[tuple[str, int]]] = {}
    sizes, users = _files(platform)
    for sha256, files in users.items():
        for model in {each.partition("/")[0] for each in files}:
            models.setdefault(model, set()).add((sha256, sizes[sha256]))
    told = measure(platform.blobs, platform.pieces, models)
    return StoreAnswer(
        models=told.models, logical=told.logical, stored=told.stored, cached=told.cached,
        packs=told.packs, place=told.place, checked=_freshness(platform, sizes, users),
    )  # fmt: skip


def verify(platform: Platform, *, deep: bool, repair: bool, after: str, seconds: float) -> StoreChecked:
    """Look at the blobs of all versions behind the digest ``after``, for so many seconds; name who uses what is
    wrong. What was read is noted: it is not read again soon."""
    sizes, users = _files(platform)
    check = Check(platform.blobs, platform.pieces, deep=deep, repair=repair)
    found = check.run(sizes, after=after, seconds=seconds)
    if deep:
        wrong = {each.sha256: each for each in found.troubles}
        read = (each for each in sizes if after < each and (found.last is None or each <= found.last))
        platform.checks.note({each: wrong.get(each) for each in read}, platform.clock())
    return StoreChecked(
        blobs=found.blobs,
        bytes=found.bytes,
        all_blobs=len(sizes),
        all_bytes=sum(sizes.values()),
        troubles=tuple(_named(each, users) for each in found.troubles),
        after=found.last,
    )


def _files(platform: Platform) -> tuple[dict[str, int], dict[str, list[str]]]:
    """Of the blobs of all versions by digest: the bytes, and the files (``model/version/path``)."""
    sizes: dict[str, int] = {}
    users: dict[str, list[str]] = {}
    for _, model, number, manifest in platform.versions.manifests():
        for file in manifest.files:
            sizes[file.sha256] = file.size
            users.setdefault(file.sha256, []).append(f"{model}/{number}/{file.path}")
    return sizes, users


def _freshness(platform: Platform, sizes: dict[str, int], users: dict[str, list[str]]) -> StoreFreshness:
    within = platform.settings.scrub_after
    ages = [each for each in platform.checks.list() if each.sha256 in sizes]
    since = platform.clock() - within
    return StoreFreshness(
        within=within,
        bytes=sum(sizes[each.sha256] for each in ages if each.since >= since),
        oldest=min((each.since for each in ages), default=None),
        troubles=tuple(_named(each.trouble, users) for each in ages if each.trouble is not None),
    )


def _named(trouble: Trouble, users: dict[str, list[str]]) -> StoreTrouble:
    return StoreTrouble(
        kind=trouble.kind, sha256=trouble.sha256, place=trouble.place, message=trouble.message,
        repaired=trouble.repaired, used_by=tuple(users[trouble.sha256]),
    )  # fmt: skip
