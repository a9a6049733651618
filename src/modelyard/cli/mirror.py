"""What ``modelyard catalog fetch`` does: models' files brought here, or put into a mirror."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import msgspec
import typer

from modelyard.catalog import recipe
from modelyard.catalog.catalog import Filter, load
from modelyard.catalog.entry import Category, Entry
from modelyard.cli.output import print_json, say
from modelyard.client.location import find_home
from modelyard.core.errors import InvalidInput, ModelyardError
from modelyard.core.settings import load_settings
from modelyard.pipeline.fetch import fetch as bring
from modelyard.pipeline.fetch import revision_of
from modelyard.pipeline.mirror import WritablePlace, place_at, prepare


def fetch(
    names: Sequence[str], to: str | None, *, everything: bool, category: str | None, as_json: bool
) -> None:
    """Raises NotFound for a name that there is not, and what hinders the fetching of a single one; of several the
    others are fetched all the same, what hindered each is told, and it exits with 1."""
    entries = _chosen(names, everything=everything, category=category)
    home, mirror = find_home().root.absolute() / "catalog", load_settings().mirror
    place = None if to is None else _place(to)
    if len(names) == 1 and len(entries) == 1:
        told = _one(entries[0], home, mirror, place)
        if as_json:
            print_json(told)
        else:
            print(told["folder"])
        return
    results: list[dict[str, Any]] = []
    for number, entry in enumerate(entries, 1):
        say(f"{entry.name} ({number} of {len(entries)})")
        try:
            results.append(_one(entry, home, mirror, place))
        except ModelyardError as error:
            say(f"  {error.message}")
            results.append({"name": entry.name, "error": error.message, "code": error.code})
    failed = [each["name"] for each in results if "error" in each]
    if as_json:
        print_json({"models": results})
    else:
        for each in results:
            if "folder" in each:
                print(each["folder"])
        say(f"{len(results) - len(failed)} of {len(results)} models are there.")
        if failed:
            say(
                f"Not there: {', '.join(failed)}. What hindered each is above; run the same again when it is mended."
            )
    if failed:
        raise typer.Exit(1)


def _chosen(names: Sequence[str], *, everything: bool, category: str | None) -> list[Entry]:
    catalog = load()
    if (bool(names), everything, category is not None).count(True) != 1:
        raise typer.BadParameter("Name models, or say --all, or --category CATEGORY.", param_hint="NAME")
    if category is not None and category not in get_args(Category):
        known = ", ".join(catalog.categories())
        raise InvalidInput(f"There is no category {category!r}; there are: {known}.", field="category")
    if names:
        return [catalog.get(name) for name in dict.fromkeys(names)]
    return catalog.find(Filter(category=category))


def _place(to: str) -> WritablePlace:
    place = place_at(to)
    if not isinstance(place, WritablePlace):
        raise InvalidInput(
            f"A mirror at {place.address} is read alone. Put it into the folder or the bucket that is served there: "
            "--to FOLDER, --to s3://BUCKET/PREFIX.",
            field="--to",
        )
    return place


def _one(entry: Entry, home: Path, mirror: str | None, place: WritablePlace | None) -> dict[str, Any]:
    if place is None:
        folder = bring(entry, home, mirror=mirror, progress=say)
        revision = revision_of(entry, home)
        return {"name": entry.name, "folder": str(folder), "revision": revision}

    def fetched(staging: Path) -> tuple[Path, str | None]:
        return bring(entry, staging, mirror=mirror, progress=say), revision_of(entry, staging)

    source = {name: value for name, value in msgspec.to_builtins(entry.source).items() if value}
    if entry.recipe is not None:
        source["recipe"] = recipe.digest(entry)
    where = prepare(place, entry.name, source, fetched, home / ".mirroring", say)
    return {"name": entry.name, "folder": where}
