"""What ``modelyard catalog`` does. The entries come with Modelyard; no platform is asked but to deploy."""

from pathlib import Path
from typing import get_args

from modelyard.analyze.model_yaml import ADAPTERS
from modelyard.catalog.card import card_of
from modelyard.catalog.catalog import Filter, load, memory_of
from modelyard.catalog.entry import Category, Entry, Framework, Source, is_runnable
from modelyard.cli.output import print_facts, print_json, print_table, say
from modelyard.client.location import find_home
from modelyard.client.options import settings_of
from modelyard.core import provenance
from modelyard.core.errors import InvalidInput, Unavailable
from modelyard.core.names import check_name
from modelyard.core.settings import load_settings
from modelyard.core.units import format_bytes, format_count, format_seconds, parse_bytes, parse_count


def find(
    text: str,
    category: str | None,
    max_memory: str | None,
    max_parameters: str | None,
    commercial: bool,
    no_gpu: bool,
    adapter: str | None,
    framework: str | None,
    *,
    as_json: bool,
) -> None:
    """Raises InvalidInput for a category, adapter or framework that there is not, or a size that is none."""
    catalog = load()
    if category is not None and category not in get_args(Category):
        known = ", ".join(catalog.categories())
        raise InvalidInput(f"There is no category {category!r}; there are: {known}.", field="category")
    if adapter is not None and adapter not in (
        known := {each.adapter for each in catalog.entries.values()}
    ):
        raise InvalidInput(
            f"No model here has the adapter {adapter!r}; they have: {', '.join(sorted(known))}.",
            field="adapter",
        )
    if framework is not None and framework not in get_args(Framework):
        known = ", ".join(get_args(Framework))
        raise InvalidInput(f"There is no framework {framework!r}; there are: {known}.", field="framework")
    wanted = Filter(
        category=category,
        adapter=adapter,
        framework=framework,
        commercial=commercial,
        no_gpu=no_gpu,
        max_memory=None if max_memory is None else parse_bytes(max_memory, field="max-memory"),
        max_parameters=None
        if max_parameters is None
        else parse_count(max_parameters, field="max-parameters"),
        text=text,
    )
    found = catalog.find(wanted)
    if as_json:
        print_json(found)
        return
    unknown = len(catalog.unknown(wanted))
    told = f" {unknown} more are left out because their size is not known." if unknown else ""
    if not found:
        print(f"None of the {len(catalog.entries)} models is known to be all of that.{told}")
        return
    print_table(
        ["NAME", "CATEGORY", "PARAMETERS", "MEMORY", "GPU", "LICENCE", "COMMERCIAL", "ADAPTER"],
        [_row(entry) for entry in found],
        right=(2, 3),
    )
    notes = [f"\n{len(found)} of {len(catalog.entries)} models.{told}"]
    if any((memory := memory_of(entry)) and not memory.stated for entry in found):
        notes.append("~ is estimated from the parameters.")
    if not all(is_runnable(entry, ADAPTERS) for entry in found):
        notes.append("What is in brackets cannot be deployed by its name yet.")
    print(" ".join(notes))


def show(name: str, *, as_json: bool) -> None:
    """Raises NotFound."""
    entry = load().get(name)
    if as_json:
        print_json(entry)
        return
    memory = memory_of(entry)
    facts = [
        ("name", entry.name),
        ("model", entry.title),
        ("category", entry.category),
        ("", entry.description),
        ("source", _source(entry.source)),
        ("licence", f"{entry.licence.spdx} ({'commercial use allowed' if entry.licence.commercial else 'no commercial use'})"),
        ("paper", entry.paper or ""),
        ("homepage", entry.homepage),
        ("framework", entry.framework),
        ("adapter", _runner(entry)),
        ("requirements", "\n".join(entry.requirements)),
        ("python", entry.python or ""),
        ("parameters", "" if entry.parameters is None else f"{entry.parameters:,}"),
        ("context", "" if entry.context is None else f"{entry.context:,}"),
        ("disk", "" if entry.disk is None else format_bytes(entry.disk)),
        ("memory", _memories(entry) or ("" if memory is None else f"~{format_bytes(memory.bytes)}, estimated")),
        ("GPU", entry.gpu),
        ("strategy", entry.strategy),
        ("timeout", "" if entry.timeout is None else f"{format_seconds(entry.timeout)} for a call"),
        ("inputs", "\n".join(_field(each.name, each.kind, each.description) for each in entry.inputs)),
        ("outputs", "\n".join(_field(each.name, each.kind, each.description) for each in entry.outputs)),
    ]  # fmt: skip
    print_facts([(label, text) for label, text in facts if text])
    print("\nread at")
    print_facts([(f"  {fact}", url) for fact, url in sorted(entry.facts.items())])


def deploy(
    name: str,
    endpoint: str | None,
    *,
    timeout: float | None,
    trust_pickle: bool,
    because: str = "",
    detach: bool,
    as_json: bool,
) -> None:
    """Raises Unavailable for an entry that nothing here runs, and what a deployment raises."""
    from modelyard.cli.deploy import run

    entry = load().get(name)
    called = check_name(endpoint or name)
    if not is_runnable(entry, ADAPTERS):
        raise Unavailable(
            f"{name!r} cannot be deployed by its name: its entry has no recipe. Make a folder of its files with a "
            f"model.yaml, or have one made: modelyard add {_where(entry.source)}"
        )
    folder = _fetched(entry)
    run(
        folder,
        called,
        source=_came_from(entry, folder),
        trust_pickle=trust_pickle,
        because=because,
        settings=settings_of({"python": entry.python, "timeout": timeout}),
        at_first=settings_of({"timeout": entry.timeout}),
        reset=False,
        detach=detach,
        as_json=as_json,
        card=card_of(entry),
    )


def _fetched(entry: Entry) -> Path:
    from modelyard.pipeline.fetch import fetch as bring

    return bring(
        entry, find_home().root.absolute() / "catalog", mirror=load_settings().mirror, progress=say
    )


def _came_from(entry: Entry, folder: Path) -> provenance.Source:
    from modelyard.pipeline.fetch import came_from

    return came_from(entry, folder, find_home().root.absolute() / "catalog", load_settings().mirror)


def _row(entry: Entry) -> list[str]:
    memory = memory_of(entry)
    return [
        entry.name,
        entry.category,
        "-" if entry.parameters is None else format_count(entry.parameters),
        "-" if memory is None else ("" if memory.stated else "~") + format_bytes(memory.bytes),
        {"none": "no", "optional": "can", "required": "yes"}[entry.gpu],
        entry.licence.spdx,
        "yes" if entry.licence.commercial else "no",
        entry.adapter if is_runnable(entry, ADAPTERS) else f"({entry.adapter})",
    ]


def _runner(entry: Entry) -> str:
    if not is_runnable(entry, ADAPTERS):
        return f"{entry.adapter}, for which there is no recipe yet"
    return entry.adapter + ("" if entry.recipe is None else f", by the recipe {entry.recipe}")


def _where(source: Source) -> str:
    return source.package or source.git or (f"hf://{source.hub}" if source.hub else source.url or "FOLDER")


def _memories(entry: Entry) -> str:
    return ", ".join(f"{precision} {format_bytes(size)}" for precision, size in entry.memory.items())


def _source(source: Source) -> str:
    where = next(
        f"{kind}: {value}"
        for kind, value in (
            ("hub", source.hub),
            ("package", source.package),
            ("url", source.url),
            ("git", source.git),
        )
        if value is not None
    )
    return where + "".join(
        f"\n{label} {value}"
        for label, value in (
            ("revision", source.revision),
            ("path", source.path),
            ("sha256", source.sha256),
        )
        if value is not None
    )


def _field(name: str, kind: str, description: str) -> str:
    return f"{name} ({kind})" + (f": {description}" if description else "")
