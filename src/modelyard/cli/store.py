"""What ``modelyard store`` does."""

import sys
import time

from modelyard.cli.common import client
from modelyard.cli.output import print_json, print_table, say
from modelyard.client.answers import StoreInfo, StoreReport, StoreTrouble
from modelyard.core.units import format_bytes


def usage(*, as_json: bool) -> None:
    """What each model takes."""
    with client() as platform:
        told = platform.store_usage()
    if as_json:
        print_json(told)
        return
    if not told.models:
        print("No models yet.")
        return
    print_table(
        ["MODEL", "FILES", "SIZE", "ITS OWN", "SHARED"],
        [
            [each.model, str(each.blobs), *map(format_bytes, (each.logical, each.own, each.shared))]
            for each in told.models
        ],
        right=(1, 2, 3, 4),
    )
    share = f" ({told.stored / told.logical:.0%})" if told.logical else ""
    print(
        f"\n{format_bytes(told.logical)} of files are kept as {format_bytes(told.stored)}{share} in {told.place}."
    )
    if told.cached:
        print(f"The cache has {format_bytes(told.cached)}, which can be made again.")
    print(_freshness(told))
    for each in told.checked.troubles:
        print(_trouble(each))


def verify(*, deep: bool, repair: bool, as_json: bool) -> bool:
    """Whether everything is in order at the end."""
    progress = None if as_json or not sys.stderr.isatty() else _progress
    with client() as platform:
        told = platform.verify_store(deep=deep, repair=repair, on_progress=progress)
    if as_json:
        print_json(told)
    else:
        for each in told.troubles:
            print(_trouble(each))
        how = "read and compared" if deep else "there, of the right size"
        right = told.blobs - sum(not each.repaired for each in told.troubles)
        print(f"{right} of {told.blobs} blobs ({format_bytes(told.bytes)}) are {how}.")
    return all(each.repaired for each in told.troubles)


def _freshness(told: StoreInfo) -> str:
    checked = told.checked
    if not checked.within:
        return "Nothing is read again by itself (scrub_after is 0)."
    share = checked.bytes / told.logical if told.logical else 1.0
    # Rounded down: what is not all is not told as if it were.
    text = f"Read and compared within the last {_days(checked.within)}: {int(100 * share)}%"
    if checked.oldest is not None and share < 1:
        text += f", the last of it {_days(time.time() - checked.oldest)} ago"
    return f"{text}."


def _days(seconds: float) -> str:
    days = seconds / 86400
    return f"{days:.0f} days" if days >= 2 else f"{seconds / 3600:.0f} hours"


def _trouble(told: StoreTrouble) -> str:
    state = "repaired" if told.repaired else told.kind
    return f"{state}: {', '.join(told.used_by)}: {told.message} ({told.sha256[:16]} in {told.place})"


def _progress(report: StoreReport) -> None:
    say(
        f"{report.blobs} of {report.all_blobs} blobs, {format_bytes(report.bytes)} of "
        f"{format_bytes(report.all_bytes)}, {len(report.troubles)} not in order"
    )


def collect(*, as_json: bool) -> None:
    """Raises Unavailable when no platform runs."""
    with client() as platform:
        told = platform.collect_store()
    if as_json:
        print_json(told)
        return
    print(
        f"{told.blobs} blobs, {told.packs} packs and {told.cached} files of the cache removed or packed anew; "
        f"{told.settled} new blobs looked at, {told.cooled} kept smaller since nobody used them, "
        f"{told.gathered} small ones put together. Packs gave {format_bytes(told.freed)} back."
    )
