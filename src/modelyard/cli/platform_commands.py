"""``modelyard up``, ``down``, ``status``, ``doctor``, ``migrate``, ``backup``, ``restore``: the platform as a whole."""

from pathlib import Path
from typing import Annotated

import typer

from modelyard.cli.common import AsJson


def up(
    port: Annotated[
        int | None,
        typer.Option(
            min=0, max=65535, help="Port of the control API and the pages (default 8700; 0: any)."
        ),
    ] = None,
    node_port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="Port that predictions go to (default 8701; 0: any)."),
    ] = None,
    grpc_port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="Port of gRPC (default 8702; 0: any)."),
    ] = None,
    processes: Annotated[
        int | None,
        typer.Option(min=1, max=256, help="Processes that share the node's port (default 1)."),
    ] = None,
    memory: Annotated[
        str | None,
        typer.Option(
            help="What the node and its models may take, such as 8GiB (default: 80 % of the machine)."
        ),
    ] = None,
    device_memory: Annotated[
        str | None,
        typer.Option(
            help="What models may take of each accelerator, such as 40GiB, or cuda:0=40GiB,cuda:1=20GiB "
            "(default: 92 % of it)."
        ),
    ] = None,
    database: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Database that homes share, postgresql://host/name (default: a file in the home). A password is "
            "better kept in modelyard.toml.",
        ),
    ] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on (default 127.0.0.1).")] = None,
    authentication: Annotated[
        bool, typer.Option("--authentication", help="Ask for the API key, which lies in the home's `key`.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Start the platform on this machine.

    It runs detached; the command waits until it is ready.
    """
    from modelyard.cli.output import print_json
    from modelyard.cli.start import Flags, bring_up
    from modelyard.cli.ticker import Ticker

    with Ticker(quiet=as_json) as ticker:
        flags = Flags(
            port,
            node_port,
            host,
            authentication or None,
            grpc_port,
            processes,
            memory,
            device_memory,
            database,
        )
        addresses = bring_up(flags, ticker.show)
    if as_json:
        print_json(addresses._asdict())
        return
    print("The platform is up." if addresses.started else "The platform is running already.")
    print(f"  pages and API   {addresses.control}")
    print(f"  predictions     {addresses.node}")
    print(f"  gRPC            {addresses.grpc.removeprefix('http://')}")
    if addresses.started:
        print("Next: modelyard deploy ./model.onnx")


def down(as_json: AsJson = False) -> None:
    """Stop the platform.

    Calls that are being answered are answered first.
    """
    from modelyard.cli.output import print_json
    from modelyard.cli.start import take_down
    from modelyard.cli.ticker import Ticker
    from modelyard.client.location import find_home

    home = find_home()
    with Ticker(quiet=as_json) as ticker:
        stopped = take_down(home, ticker.show)
    if as_json:
        print_json({"stopped": stopped})
    else:
        print("The platform is down." if stopped else f"No platform runs in {home.root}; nothing to stop.")


def status(as_json: AsJson = False) -> None:
    """Show programs, memory, and the endpoints' states."""
    from modelyard.cli.output import print_json
    from modelyard.cli.status import gather, print_status

    found = gather()
    if as_json:
        print_json(found)
    else:
        print_status(found)


def doctor(
    repair: Annotated[
        bool, typer.Option("--repair", help="Put right what can be put right; the platform must be down.")
    ] = False,
    thorough: Annotated[
        bool, typer.Option("--thorough", help="Read every stored file and compare its digest, too.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Examine the home for what should not be there.

    Orphaned files, half versions, jobs that no one runs, executors without a node.
    """
    from modelyard.cli.doctor import run

    if not run(fix=repair, thorough=thorough, as_json=as_json):
        raise typer.Exit(1)


def migrate(
    to: Annotated[
        str | None,
        typer.Option(
            "--to",
            metavar="URL",
            help="The rows: postgresql://user@host/name, or `embedded`, the file in the home.",
        ),
    ] = None,
    blobs: Annotated[
        str | None,
        typer.Option(
            "--blobs",
            metavar="PLACE",
            help="The bytes of models: s3://bucket/prefix (gs://, az://), or `disk`, the folder in the home.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Move all rows to a database that a team shares, the bytes of models into a bucket, or either back.

    The platform must be down; the target must be empty. Cut off at any moment, the same command goes on.
    """
    if to is None and blobs is None:
        raise typer.BadParameter("Say what to move: --to for the rows, --blobs for the bytes, or both.")
    from modelyard.cli.moving import run_migrate

    run_migrate(to, blobs, as_json=as_json)


def backup(file: Annotated[Path, typer.Argument(help="A new file.")], as_json: AsJson = False) -> None:
    """Write rows, stored files, settings and key of this home into one file.

    The platform may run meanwhile.
    """
    from modelyard.cli.moving import run_backup

    run_backup(file, as_json=as_json)


def restore(
    file: Annotated[Path, typer.Argument(help="What `modelyard backup` has written.")],
    as_json: AsJson = False,
) -> None:
    """Bring a backup back into a home that has nothing in it.

    The platform must be down. All of it is compared with what was backed up.
    """
    from modelyard.cli.moving import run_restore

    run_restore(file, as_json=as_json)


def add_to(app: typer.Typer) -> None:
    for command in (up, down, status, doctor, migrate, backup, restore):
        app.command()(command)
