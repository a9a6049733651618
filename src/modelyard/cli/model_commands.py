"""``modelyard models``: the registry."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from modelyard.cli import transfer_commands
from modelyard.cli.common import AsJson, InProject, VersionName

Output = Annotated[Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write it there.")]
ModelName = Annotated[str, typer.Argument(metavar="NAME", help="The model.")]
Because = Annotated[str, typer.Option("--because", metavar="TEXT", help="Why, for the history.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]

group = typer.Typer(
    name="models",
    help="The registry: find, show, name, compare, scan, sign and end versions of models.",
    rich_markup_mode=None,
    invoke_without_command=True,
)


@group.callback()
def models(context: typer.Context, as_json: AsJson = False) -> None:
    """The registry: find, show, name, compare, scan, sign and end versions of models."""
    if context.invoked_subcommand is None:
        from modelyard.cli.models import list_models

        list_models(as_json=as_json)
    elif as_json:
        raise typer.BadParameter(
            "Put --json after the command: models show NAME --json.", param_hint="--json"
        )


@group.command("list", help="List versions: the latest of each model, or those that fit.")
@group.command("search", help="Find versions by words of their names, cards and READMEs, and by facts.")
def find(
    text: Annotated[
        list[str] | None,
        typer.Argument(metavar="[TEXT]...", help="Words (or beginnings) that all must occur."),
    ] = None,
    name: Annotated[str | None, typer.Option(help="The model's name, or its beginning: 'fraud*'.")] = None,
    task: Annotated[str | None, typer.Option(help="Such as fill-mask.")] = None,
    category: Annotated[str | None, typer.Option(help="Such as docking.")] = None,
    architecture: Annotated[str | None, typer.Option(help="Such as BertModel.")] = None,
    licence: Annotated[str | None, typer.Option(metavar="SPDX", help="Such as MIT.")] = None,
    commercial: Annotated[
        bool | None,
        typer.Option("--commercial/--not-commercial", help="Whether its licence allows commercial use."),
    ] = None,
    format: Annotated[str | None, typer.Option(help="Such as onnx.")] = None,
    adapter: Annotated[str | None, typer.Option(help="Run by this adapter.")] = None,
    precision: Annotated[str | None, typer.Option(help="Of most weights, such as float16.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="May be repeated: all of them.")] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(
            metavar="BOUND",
            help="A measured figure, in quotes: 'auc>=0.9', 'accuracy[mnli]>0.8', or auc for those that have one; may be "
            "repeated.",
        ),
    ] = None,
    alias: Annotated[str | None, typer.Option(help="That this alias names, such as production.")] = None,
    min_size: Annotated[str | None, typer.Option(metavar="SIZE", help="Bytes of its files: 10MB.")] = None,
    max_size: Annotated[str | None, typer.Option(metavar="SIZE", help="The most.")] = None,
    min_parameters: Annotated[str | None, typer.Option(metavar="COUNT", help="Such as 7B.")] = None,
    max_parameters: Annotated[
        str | None, typer.Option(metavar="COUNT", help="The most; unknown is not small.")
    ] = None,
    status: Annotated[
        Literal["usable", "deployed", "deprecated", "quarantined", "deleted"] | None,
        typer.Option(help="usable: neither deprecated, in quarantine nor deleted."),
    ] = None,
    all_versions: Annotated[
        bool, typer.Option("--all-versions", help="Every version, not only the latest of each model.")
    ] = False,
    sort: Annotated[
        Literal[
            "newest", "oldest", "name", "size", "-size", "parameters", "-parameters", "metric", "-metric"
        ],
        typer.Option(help="A minus: the largest first. metric: by the first --metric."),
    ] = "newest",
    limit: Annotated[int, typer.Option(min=1, max=200, help="How many at most.")] = 50,
    cursor: Annotated[
        str | None, typer.Option(help="Go on behind a page: what it told as its next.")
    ] = None,
    project: InProject = None,
    as_json: AsJson = False,
) -> None:
    """Find versions: the latest of each model, or those that fit."""
    from modelyard.cli.listings import find as run
    from modelyard.core.listing import Wanted
    from modelyard.core.units import parse_bytes, parse_count

    def size(told: str | None, field: str) -> int | None:
        return None if told is None else parse_bytes(told, field=field)

    def count(told: str | None, field: str) -> int | None:
        return None if told is None else parse_count(told, field=field)

    wanted = Wanted(
        name=name,
        text=" ".join(text) if text else None,
        task=task,
        category=category,
        architecture=architecture,
        licence=licence,
        commercial=commercial,
        format=format,
        adapter=adapter,
        precision=precision,
        tags=tuple(tag or ()),
        metrics=tuple(metric or ()),
        alias=alias,
        min_size=size(min_size, "--min-size"),
        max_size=size(max_size, "--max-size"),
        min_parameters=count(min_parameters, "--min-parameters"),
        max_parameters=count(max_parameters, "--max-parameters"),
        status=status,
        all_versions=all_versions,
        sort=sort,
    )
    run(wanted, limit, cursor, as_json=as_json)


@group.command()
def show(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="The model; or one version: NAME/3, NAME@production.")
    ],
    as_json: AsJson = False,
) -> None:
    """Show a model's versions, and what is known of the latest; or of one version also where it came from, and
    who signed it."""
    from modelyard.cli import models, versions

    if "/" in name or "@" in name:
        versions.show_version(name, as_json=as_json)
    else:
        models.show_model(name, as_json=as_json)


@group.command()
def card(
    name: VersionName,
    file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Set the text: a file of Markdown; - reads stdin.")
    ] = None,
    title: Annotated[str | None, typer.Option(help="Set the title.")] = None,
    summary: Annotated[str | None, typer.Option(help="Set what it is in a sentence.")] = None,
    task: Annotated[str | None, typer.Option(help="Set the task.")] = None,
    category: Annotated[str | None, typer.Option(help="Set the category.")] = None,
    architecture: Annotated[str | None, typer.Option(help="Set the architecture.")] = None,
    licence: Annotated[str | None, typer.Option(metavar="SPDX", help="Set the licence.")] = None,
    commercial: Annotated[
        bool | None, typer.Option("--commercial/--not-commercial", help="Whether it allows commercial use.")
    ] = None,
    paper: Annotated[str | None, typer.Option(metavar="URL", help="Set the paper's address.")] = None,
    homepage: Annotated[str | None, typer.Option(metavar="URL", help="Set the homepage.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="Set the tags; may be repeated.")] = None,
    metrics: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help='Set figures: JSON, {"auc": 0.93} or a list of {title, columns, rows, source}; of NAME/3 those of that version. '
            "Those of other versions stay.",
        ),
    ] = None,
    clear: Annotated[
        list[str] | None,
        typer.Option(metavar="FIELD", help="Have it say nothing of a field; text: the README again."),
    ] = None,
    because: Because = "",
    as_json: AsJson = False,
) -> None:
    """Show a model's card, or set what is given of it."""
    from modelyard.cli import cards as room

    given = {
        "title": title, "summary": summary, "task": task, "category": category, "architecture": architecture,
        "licence": licence, "commercial": commercial, "paper": paper, "homepage": homepage, "tags": tag,
    }  # fmt: skip
    said = {field: value for field, value in given.items() if value is not None}
    room.run(name, said, file, metrics, clear or [], because, as_json=as_json)


@group.command()
def alias(
    name: ModelName,
    alias: Annotated[str | None, typer.Argument(metavar="[ALIAS]", help="Such as production.")] = None,
    version: Annotated[
        str | None, typer.Argument(metavar="[VERSION]", help="A number, another alias, or latest.")
    ] = None,
    because: Because = "",
    expect: Annotated[
        int | None,
        typer.Option(
            min=0, metavar="NUMBER", help="Only if it points at this version now; 0: if there is none."
        ),
    ] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Take the alias away.")] = False,
    as_json: AsJson = False,
) -> None:
    """Point an alias at a version, or list a model's aliases.

    Every move is kept with who and why (models history). Of two who move it at once with --expect one wins.
    """
    from modelyard.cli import aliases as room

    if alias is None:
        if remove or version is not None or expect is not None:
            raise typer.BadParameter("Say which alias.", param_hint="ALIAS")
        room.list_aliases(name, as_json=as_json)
    elif remove:
        if version is not None:
            raise typer.BadParameter("An alias that is removed names no version.", param_hint="VERSION")
        room.remove(name, alias, because, expect, as_json=as_json)
    elif version is None:
        raise typer.BadParameter("Say which version, or --remove.", param_hint="VERSION")
    else:
        room.move(name, alias, version, because, expect, as_json=as_json)


@group.command()
def history(
    name: ModelName,
    alias: Annotated[str | None, typer.Option(help="Of this alias only.")] = None,
    at: Annotated[
        str | None,
        typer.Option(
            metavar="WHEN",
            help="What held on a day (2026-11-01) or at a moment (2026-11-01T12:30:05), in your own time.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show which version each alias named when, who moved it, and why."""
    from modelyard.cli import aliases as room

    room.history(name, alias, at, as_json=as_json)


@group.command()
def lineage(name: VersionName, as_json: AsJson = False) -> None:
    """Show the tree of versions that were made from each other."""
    from modelyard.cli import lineage as room

    room.show(name, as_json=as_json)


@group.command()
def parent(
    name: VersionName,
    source: Annotated[
        str | None, typer.Argument(metavar="[PARENT]", help="The version that it was made from.")
    ] = None,
    relation: Annotated[
        Literal["variant", "fine_tune", "re_export", "distillation", "derived"], typer.Option(help="How.")
    ] = "derived",
    tradeoff: Annotated[
        str | None,
        typer.Option(metavar="JSON", help="What that changed: an object of measured figures, or @FILE."),
    ] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Forget what it was made from.")] = False,
    because: Because = "",
    as_json: AsJson = False,
) -> None:
    """Say what a version was made from."""
    from modelyard.cli import lineage as room

    if remove == (source is not None):
        raise typer.BadParameter("Say the version that it was made from, or --remove.", param_hint="PARENT")
    if source is None:
        room.forget(name, as_json=as_json)
    else:
        room.say(name, source, relation, tradeoff, because, as_json=as_json)


@group.command()
def compare(
    before: VersionName,
    after: VersionName,
    contents: Annotated[
        bool, typer.Option("--contents", help="Compare the numbers of tensors too: reads all weights.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Say what differs between two versions: signature, facts, files, tensors."""
    from modelyard.cli import comparison as room

    room.run(before, after, contents=contents, as_json=as_json)


@group.command()
def deprecate(
    name: VersionName,
    because: Annotated[
        str | None, typer.Option("--because", metavar="TEXT", help="Why; whoever deploys it is told.")
    ] = None,
    undo: Annotated[bool, typer.Option("--undo", help="Take it back.")] = False,
    as_json: AsJson = False,
) -> None:
    """Say that nobody should begin to use a version."""
    from modelyard.cli import retirement as room

    if undo:
        room.undeprecate(name, as_json=as_json)
    elif not because:
        raise typer.BadParameter("Say why, or --undo.", param_hint="--because")
    else:
        room.deprecate(name, because, as_json=as_json)


@group.command()
def sign(
    version: VersionName,
    key: Annotated[Path, typer.Option(metavar="FILE", help="The private key (PEM); it stays here.")],
    as_json: AsJson = False,
) -> None:
    """Sign the files of a version with a private key, and keep the signature with it."""
    from modelyard.cli.versions import sign_version

    sign_version(version, key, as_json=as_json)


@group.command()
def verify(
    version: VersionName,
    key: Annotated[Path, typer.Option(metavar="FILE", help="The public key (PEM).")],
    as_json: AsJson = False,
) -> None:
    """Verify with a public key that a version is as it was signed. Fails when no signature of its own is by that key."""
    from modelyard.cli.versions import verify_version

    verify_version(version, key, as_json=as_json)


@group.command()
def sbom(
    version: VersionName,
    output: Output = None,
    as_json: AsJson = False,
) -> None:
    """Print the bill of materials of a version (CycloneDX JSON): its files, and the packages that it last ran with."""
    from modelyard.cli.versions import sbom_of_version

    sbom_of_version(version, output, as_json=as_json)


@group.command()
def scan(
    version: VersionName,
    again: Annotated[
        bool, typer.Option("--again", help="Also what the same scanners have looked at already.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Scan a version for what could execute, and show what was found in each file."""
    from modelyard.cli.scan import scan_version

    scan_version(version, again=again, as_json=as_json)


@group.command()
def delete(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="The model with all its versions; or one: NAME/3.")
    ],
    because: Because = "",
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Delete a version, or a model with all its versions. Refused while something uses it.

    A version can be restored for a while (models restore), a model cannot.
    """
    from modelyard.cli import retirement as room

    if "/" in name or "@" in name:
        room.delete(name, because, yes=yes, as_json=as_json)
    else:
        room.delete_model(name, yes=yes, as_json=as_json)


@group.command()
def restore(
    name: Annotated[str, typer.Argument(metavar="VERSION", help="The version: NAME/3.")],
    because: Because = "",
    as_json: AsJson = False,
) -> None:
    """Take the deletion of a version back, until its time is over."""
    from modelyard.cli import retirement as room

    room.restore(name, because, as_json=as_json)


def add_to(app: typer.Typer) -> None:
    transfer_commands.add_to(group)
    app.add_typer(group)
