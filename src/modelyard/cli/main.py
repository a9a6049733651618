"""The entrance of the command line. Declares; everything heavy is imported by the command that runs."""

import sys
from typing import Annotated

import typer

from modelyard.cli import (
    access_commands,
    catalog_commands,
    deploy_commands,
    endpoint_commands,
    environment_commands,
    model_commands,
    onboard_commands,
    platform_commands,
    remote_commands,
    store_commands,
)

app = typer.Typer(
    name="modelyard",
    help="Modelyard: from a trained model file to a living endpoint, in one command.\n\n"
    "Begin with: modelyard deploy ./model.onnx",
    # Help by Rich costs 180 ms of imports; plain help is read as easily.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from modelyard.core.version import VERSION

        print(VERSION)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Show the version and exit.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    pass


platform_commands.add_to(app)
deploy_commands.add_to(app)
endpoint_commands.add_to(app)
remote_commands.add_to(app)
model_commands.add_to(app)
environment_commands.add_to(app)
store_commands.add_to(app)
access_commands.add_to(app)
catalog_commands.add_to(app)
onboard_commands.add_to(app)


def main() -> None:
    """Run the command of ``sys.argv``; exit 0 done, 1 failed, 2 wrong use, 130 interrupted."""
    from modelyard.core.errors import ModelyardError

    try:
        app()
    except ModelyardError as error:
        from modelyard.cli.output import print_error

        print_error(error, as_json="--json" in sys.argv)
        sys.exit(1)
    except BrokenPipeError:
        # The reader (`| head`) has enough. Python would complain again while flushing at exit.
        sys.stdout = None
        sys.exit(0)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
