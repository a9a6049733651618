"""``modelyard predict``, ``endpoints``, ``logs``, ``delete``: what serves."""

from typing import Annotated

import typer

from modelyard.cli.common import AsJson, InProject

EndpointName = Annotated[str, typer.Argument(metavar="NAME", help="The endpoint.")]


def predict(
    name: EndpointName,
    input: Annotated[
        str | None,
        typer.Option(
            "--input", "-i", metavar="FILE", help="A record (or a list of records) as JSON; - reads stdin."
        ),
    ] = None,
    set: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="One input; a value that is JSON is taken as such, @FILE is what is in a file.",
        ),
    ] = None,
    text: Annotated[
        str | None, typer.Option("--text", help="The text, for a model with one text input.")
    ] = None,
    parameter: Annotated[
        list[str] | None,
        typer.Option("--parameter", metavar="NAME=VALUE", help="One parameter of the call."),
    ] = None,
    stream: Annotated[
        bool, typer.Option("--stream", help="Show the pieces of the answer as they come.")
    ] = False,
    example: Annotated[
        bool, typer.Option("--example", help="Print a record that the model can answer, and call nothing.")
    ] = False,
    timeout: Annotated[
        float | None,
        typer.Option(min=0.001, help="Seconds that the call may take; the endpoint's own is the limit."),
    ] = None,
    priority: Annotated[
        int | None, typer.Option(min=0, max=1000, help="1 is the most urgent, larger numbers follow.")
    ] = None,
    no_cache: Annotated[
        bool, typer.Option("--no-cache", help="Compute the answer anew, and do not keep it.")
    ] = False,
    detach: Annotated[
        bool,
        typer.Option("--detach", help="Do not wait: make a job of it, whose answer is kept for a day."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Ask an endpoint for a prediction and show it."""
    from modelyard.cli import predict as room

    if example:
        room.print_example(name)
        return
    record = room.read_record(input, set or [], text, parameter or [])
    call = {"timeout": timeout, "priority": priority, "cache": not no_cache}
    if detach:
        from modelyard.cli import predictions

        if stream:
            raise typer.BadParameter("A job has no pieces.", param_hint="--stream")
        predictions.submit(name, record, text, priority, as_json=as_json)
    elif stream:
        if no_cache:
            raise typer.BadParameter("A stream is never cached.", param_hint="--no-cache")
        room.run_stream(name, record, text, call, as_json=as_json)
    else:
        room.run(name, record, text, call, as_json=as_json)


def endpoints(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="Show this one, with all its options.")
    ] = None,
    project: InProject = None,
    as_json: AsJson = False,
) -> None:
    """List the endpoints with their state and traffic, or show one."""
    from modelyard.cli import endpoints as room

    if name is None:
        room.list_endpoints(as_json=as_json)
    else:
        room.show(name, as_json=as_json)


def logs(
    name: EndpointName,
    tail: Annotated[int, typer.Option(min=1, max=100_000, help="How many of the last lines.")] = 200,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with what is written from now on.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show what an endpoint's replicas wrote.

    The model's own output, its tracebacks, the deaths of its processes.
    """
    from modelyard.cli.logs import run

    if follow and as_json:
        raise typer.BadParameter("--json prints one document; it cannot follow.", param_hint="--follow")
    run(name, tail, follow=follow, as_json=as_json)


def wake(name: EndpointName, as_json: AsJson = False) -> None:
    """Have an endpoint's model in memory before it is called."""
    from modelyard.cli.common import client
    from modelyard.cli.output import print_json
    from modelyard.cli.ticker import Ticker

    with Ticker(quiet=as_json) as ticker, client() as platform:
        ticker.show(f"Waking {name}")
        platform.wake(name)
    if as_json:
        print_json({"awake": name})
    else:
        print(f"{name} is in memory.")


def sleep(name: EndpointName, as_json: AsJson = False) -> None:
    """Take an endpoint's model out of memory; the next call wakes it."""
    from modelyard.cli.common import client
    from modelyard.cli.output import print_json

    with client() as platform:
        platform.sleep(name)
    if as_json:
        print_json({"asleep": name})
    else:
        print(f"{name} sleeps; the next call wakes it.")


def delete(
    name: EndpointName,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Delete an endpoint.

    Its replicas answer what they have and stop; its remotes are forgotten. The model stays.
    """
    from modelyard.cli.common import client, confirm
    from modelyard.cli.output import print_json

    with client() as platform:
        if all(route.endpoint != name for route in platform.remotes()):
            platform.endpoint(name)  # raises NotFound before anything is asked
        confirm(f"Delete the endpoint {name}? Calls to it will fail.", yes)
        platform.delete(name)
    if as_json:
        print_json({"deleted": name})
    else:
        print(f"The endpoint {name} is deleted. Its model is kept; see `modelyard models`.")


def add_to(app: typer.Typer) -> None:
    for command in (predict, endpoints, wake, sleep, logs, delete):
        app.command()(command)
