"""``modelyard add``: a model that nobody has onboarded."""

from typing import Annotated

import typer

from modelyard.cli.common import AsJson


def add(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="A folder, a git repository (https://…[@REVISION]), a file or an archive (https://…/model.onnx), "
            "hf://OWNER/NAME, or a package (name, name==1.2).",
        ),
    ],
    analyze: Annotated[bool, typer.Option("--analyze", help="Report only.")] = False,
    create_adapter: Annotated[
        bool,
        typer.Option(
            "--create-adapter", help="Report, and write the model's files (what happens by itself)."
        ),
    ] = False,
    test: Annotated[
        bool,
        typer.Option("--test", help="Then run it: build its environment, load it, ask for its example."),
    ] = False,
    deploy: Annotated[
        bool, typer.Option("--deploy", help="Then deploy it, and wait until it serves.")
    ] = False,
    name: Annotated[
        str | None, typer.Option(help="What it is to be called (default: its own name).")
    ] = None,
    to: Annotated[
        str | None,
        typer.Option(metavar="FOLDER", help="Where its files are written (default: ./NAME-model)."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Write over what is there.")] = False,
    call: Annotated[
        str | None,
        typer.Option(metavar="NUMBER", help="Which call is served: its number, or a part of its text."),
    ] = None,
    example: Annotated[
        list[str] | None,
        typer.Option(
            "--example", metavar="NAME=VALUE", help="An input's example; @FILE is what is in a file."
        ),
    ] = None,
    requirement: Annotated[
        list[str] | None,
        typer.Option("--requirement", metavar="LINE", help="A package that it needs as well."),
    ] = None,
    sha256: Annotated[
        str | None,
        typer.Option(metavar="HEX", help="The checksum that the file at an address must have."),
    ] = None,
    python: Annotated[
        str | None,
        typer.Option(metavar="VERSIONS", help="The Python that it needs: '>=3.9,<3.11', or 3.10."),
    ] = None,
    network: Annotated[
        bool, typer.Option("--network", help="Let it use the network, in --test and when it serves.")
    ] = False,
    trust_pickle: Annotated[
        bool, typer.Option("--trust-pickle", help="Allow a model whose loading runs code (pickle, joblib).")
    ] = False,
    because: Annotated[
        str, typer.Option(metavar="WHY", help="Why it is trusted; kept with the version and in the audit.")
    ] = "",
    timeout: Annotated[float, typer.Option(min=1, help="Seconds that loading may take in --test.")] = 600.0,
    as_json: AsJson = False,
) -> None:
    """Make a model of a project that nobody has onboarded.

    Reads its files without running any of it: who it is, what it needs, how it is called. Says how sure it is
    of each, and where it was read; what it cannot find out it asks, or says with which option to tell. Then
    writes a folder that `modelyard deploy` takes: model.py, requirements.txt, model.yaml, a test.

    --test and --deploy run its code, in a process of its own.
    """
    from modelyard.cli.add import Steps, run
    from modelyard.cli.predict import pair_of
    from modelyard.onboard import Answers
    from modelyard.package.address import with_digest

    if because and not trust_pickle:
        raise typer.BadParameter(
            "It says why a model is trusted; give --trust-pickle, too.", param_hint="--because"
        )
    answers = Answers(
        call=call,
        examples=dict(pair_of(pair, "--example") for pair in example or ()),
        requirements=tuple(requirement or ()),
        python=python,
    )
    if analyze and (create_adapter or test or deploy):
        analyze = False  # the steps are taken up to the last that is asked for
    steps = Steps(write=not analyze, test=test, deploy=deploy)
    run(
        with_digest(source, sha256),
        answers,
        steps,
        name=name,
        to=to,
        overwrite=overwrite,
        network=network,
        trust_pickle=trust_pickle,
        because=because,
        timeout=timeout,
        as_json=as_json,
    )


def update(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A model that was added (modelyard add).")],
    version: Annotated[
        str | None,
        typer.Option(
            metavar="VERSION", help="A version of its package, a revision of its repository (the newest)."
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Write over files that were changed by hand.")
    ] = False,
    network: Annotated[
        bool, typer.Option("--network", help="Let it use the network, while it is tried and from then on.")
    ] = False,
    trust_pickle: Annotated[
        bool, typer.Option("--trust-pickle", help="Allow a model whose loading runs code (pickle, joblib).")
    ] = False,
    because: Annotated[
        str, typer.Option(metavar="WHY", help="Why it is trusted; kept with the version and in the audit.")
    ] = "",
    timeout: Annotated[float, typer.Option(min=1, help="Seconds that loading may take.")] = 600.0,
    as_json: AsJson = False,
) -> None:
    """Bring a model that was added to another version.

    Builds the environment of the new version beside the old one, has it answer its example, and moves the
    endpoint's traffic when it serves. Calls are answered all the while; what fails changes nothing.
    """
    from modelyard.cli.update import run

    if because and not trust_pickle:
        raise typer.BadParameter(
            "It says why a model is trusted; give --trust-pickle, too.", param_hint="--because"
        )
    run(
        name,
        version,
        overwrite=overwrite,
        network=network,
        trust_pickle=trust_pickle,
        because=because,
        timeout=timeout,
        as_json=as_json,
    )


def list_(
    status: Annotated[
        str | None,
        typer.Option(
            help="Only those that are deployed (ready, asleep, starting, failing …), or stored: not deployed."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the models with their latest version, and where they are served."""
    from modelyard.cli.inventory import run

    run(status, as_json=as_json)


def add_to(app: typer.Typer) -> None:
    app.command()(add)
    app.command()(update)
    app.command("list")(list_)
