"""``modelyard models``: the registry."""

from pathlib import Path
from typing import Annotated

import typer

from modelyard.cli.common import AsJson

VersionName = Annotated[
    str, typer.Argument(metavar="NAME[/N]", help="The version; without a number the latest.")
]
Output = Annotated[Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write it there.")]
ModelName = Annotated[str, typer.Argument(metavar="NAME", help="The model.")]

group = typer.Typer(
    name="models",
    help="List the models; show, scan, sign, verify or delete one.",
    rich_markup_mode=None,
    invoke_without_command=True,
)


@group.callback()
def models(context: typer.Context, as_json: AsJson = False) -> None:
    """List the models; show, scan, sign, verify or delete one."""
    if context.invoked_subcommand is None:
        from modelyard.cli.models import list_models

        list_models(as_json=as_json)
    elif as_json:
        raise typer.BadParameter(
            "Put --json after the command: models show NAME --json.", param_hint="--json"
        )


@group.command("list")
def list_(as_json: AsJson = False) -> None:
    """List the models."""
    from modelyard.cli.models import list_models

    list_models(as_json=as_json)


@group.command()
def show(
    name: Annotated[str, typer.Argument(metavar="NAME[/N]", help="The model, or one of its versions.")],
    as_json: AsJson = False,
) -> None:
    """Show a model's versions, and what is known of the latest; or of one version also where it came from, and
    who signed it."""
    if "/" in name:
        from modelyard.cli.versions import show_version

        show_version(name, as_json=as_json)
        return
    from modelyard.cli.models import show_model

    show_model(name, as_json=as_json)


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
    version: Annotated[
        str, typer.Argument(metavar="NAME[/N]", help="The model; its latest version, or N.")
    ],
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
    name: ModelName,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Delete a model with all its versions. Refused while an endpoint uses it."""
    from modelyard.cli.common import client, confirm
    from modelyard.cli.output import print_json

    with client() as platform:
        found = platform.model(name)
        confirm(f"Delete the model {name} with its {len(found.versions)} version(s)?", yes)
        platform.delete_model(name)
    if as_json:
        print_json({"deleted": name})
    else:
        print(f"The model {name} is deleted.")


def add_to(app: typer.Typer) -> None:
    app.add_typer(group)
