"""``modelyard models list`` and ``search``: versions that fit, a page at a time."""

from modelyard.cli.common import client
from modelyard.cli.output import print_json, print_table, say
from modelyard.core.listing import Listing, Wanted
from modelyard.core.units import format_bytes, format_count

_FIGURES = 4  # of a version


def find(wanted: Wanted, limit: int, cursor: str | None, *, as_json: bool) -> None:
    """Print a page; how to see the next goes to stderr."""
    with client() as platform:
        page = platform.registry.search(wanted, limit=limit, cursor=cursor)
    if as_json:
        print_json(page)
        return
    if not page.versions:
        print(
            "No version is all of that."
            if wanted != Wanted()
            else "No models yet. Deploy one: modelyard deploy ./model.onnx"
        )
        for hint in page.hints:
            there = "there is" if len(hint.there) == 1 else "there are"
            say(f"No version has the {hint.field} {hint.value}; {there} {', '.join(hint.there)}.")
        for obstacle in page.obstacles:
            say(
                "There are some that are not the latest of their model: --all-versions."
                if obstacle.field == "all_versions"
                else f"Without the {obstacle.field.replace('_', ' ')} {obstacle.value} there would be some."
            )
        return
    print_table(
        [
            "VERSION",
            "FORMAT",
            "PARAMETERS",
            "PRECISION",
            "SIZE",
            "LICENCE",
            "TASK",
            "ALIASES",
            "ENDPOINTS",
            *(["FIGURES"] if wanted.metrics else []),
            "",
        ],
        [_row(each, measured=bool(wanted.metrics)) for each in page.versions],
        right=(2, 4),
    )
    if page.next is not None:
        say(f"There are more: the same with --cursor {page.next}")


def _row(listing: Listing, *, measured: bool) -> list[str]:
    state = (
        "deleted"
        if listing.deleted is not None
        else "quarantine"
        if listing.quarantine is not None
        else "deprecated"
        if listing.deprecated is not None
        else ""
    )
    return [
        f"{listing.model}/{listing.number}",
        listing.format,
        "" if listing.parameters is None else format_count(listing.parameters),
        listing.precision or "",
        format_bytes(listing.size),
        listing.licence or "",
        listing.task or listing.category or "",
        ", ".join(listing.aliases),
        ", ".join(listing.endpoints),
        *([_figures(listing)] if measured else []),
        state,
    ]


def _figures(listing: Listing) -> str:
    """Those that were asked for; of a figure on very many data the first ones."""
    told = [f"{each.told} {each.value:g}" for each in listing.figures[:_FIGURES]]
    more = len(listing.figures) - len(told)
    return ", ".join([*told, f"{more} more"] if more else told)
