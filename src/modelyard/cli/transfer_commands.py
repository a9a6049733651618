"""``modelyard models push``, ``pull`` and ``import-mlflow``: how versions come, and how their files go back."""

from pathlib import Path
from typing import Annotated

import typer

from modelyard.cli.common import AsJson, SigningKey, VersionName

TrackingUri = Annotated[
    str | None,
    typer.Option(
        "--tracking-uri",
        metavar="URI",
        help="Where MLflow is: http(s)://…, sqlite:///…, or a folder (default: MLFLOW_TRACKING_URI).",
    ),
]


def push(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="A file or folder; hf://OWNER/NAME; the address of a file, an archive (https://…) or a git repository; "
            "s3://, gs:// or az://BUCKET/PREFIX; mlflow:models/NAME/VERSION, mlflow:models/NAME@ALIAS, "
            "mlflow:runs/RUN/PATH.",
        ),
    ],
    name: Annotated[str | None, typer.Option(help="The model's name (default: the file's name).")] = None,
    trust_pickle: Annotated[
        bool, typer.Option("--trust-pickle", help="Allow a model whose loading runs code (pickle, joblib).")
    ] = False,
    because: Annotated[
        str, typer.Option(metavar="WHY", help="Why it is trusted, or the alias moved; for the history.")
    ] = "",
    alias: Annotated[str | None, typer.Option(help="Point this alias at the version.")] = None,
    task: Annotated[str | None, typer.Option(help="For the card, such as fill-mask.")] = None,
    licence: Annotated[str | None, typer.Option(metavar="SPDX", help="For the card, such as MIT.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="For the card; may be repeated.")] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=NUMBER", help="For the card, such as auc=0.93; may be repeated."),
    ] = None,
    sha256: Annotated[
        str | None,
        typer.Option(metavar="HEX", help="The checksum that the file at an address must have."),
    ] = None,
    sign: SigningKey = None,
    tracking_uri: TrackingUri = None,
    as_json: AsJson = False,
) -> None:
    """Make a version of a model's files, without deploying it. The same files are the same version."""
    from modelyard.cli.push import run

    run(
        model,
        name,
        trust_pickle=trust_pickle,
        because=because,
        sha256=sha256,
        sign=sign,
        alias=alias,
        task=task,
        licence=licence,
        tags=tag or [],
        metrics=metric or [],
        tracking=tracking_uri,
        as_json=as_json,
    )


def pull(
    name: VersionName,
    to: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Where its files go; must not be there (default: ./NAME-VERSION)."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Bring the files of a version here; print the folder. What was broken off is gone on with."""
    from modelyard.cli.push import pull as run

    run(name, to, as_json=as_json)


def import_mlflow(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="Registered models; or --all.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="All that are registered.")] = False,
    trust_pickle: Annotated[
        bool, typer.Option("--trust-pickle", help="Also those whose loading runs code (pickle, joblib).")
    ] = False,
    because: Annotated[
        str, typer.Option(metavar="WHY", help="Why they are trusted; kept with each version.")
    ] = "",
    tracking_uri: TrackingUri = None,
    as_json: AsJson = False,
) -> None:
    """Bring the models of an MLflow registry here: versions, aliases, descriptions, metrics and parameters.

    What was brought before is left as it is, so that it can be run again. Fails when a version was refused.
    """
    from modelyard.cli.mlflow import run

    if bool(names) == everything:
        raise typer.BadParameter("Name models, or say --all.", param_hint="NAME")
    run(names or [], tracking_uri, trust_pickle=trust_pickle, because=because, as_json=as_json)


def add_to(group: typer.Typer) -> None:
    for name, command in (("push", push), ("pull", pull), ("import-mlflow", import_mlflow)):
        group.command(name)(command)
