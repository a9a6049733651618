"""What ``modelyard list`` shows: models and endpoints in one table, a line for each endpoint."""

from typing import NamedTuple

import typer

from modelyard.cli.common import client
from modelyard.cli.output import print_json, print_table


class Line(NamedTuple):
    """A model, and one endpoint that serves it (none: it is stored)."""

    model: str
    version: int
    status: str
    endpoint: str
    url: str


STORED = "stored"


def run(status: str | None, *, as_json: bool) -> None:
    """Raises BadParameter (exit 2) for a status that no model ever has."""
    with client() as platform:
        models = platform.models()
        endpoints = platform.endpoints()
    lines: list[Line] = []
    for model in models:
        served = [each for each in endpoints if each.current.model == model.name]
        lines += [
            Line(model.name, each.current.version, each.state, each.name, each.url) for each in served
        ]
        if not served:
            lines.append(Line(model.name, model.latest, STORED, "", ""))
    if status is not None:
        known = {"deployed", STORED, *_STATES, *(line.status for line in lines)}
        if status not in known:
            raise typer.BadParameter(
                f"{status!r} is none of {', '.join(sorted(known))}.", param_hint="--status"
            )
        lines = [
            line
            for line in lines
            if line.status == status or (status == "deployed" and line.status != STORED)
        ]
    if as_json:
        print_json([line._asdict() for line in lines])
    elif not lines:
        print(
            "No models yet. Deploy one: modelyard deploy ./model.onnx"
            if status is None
            else f"No model is {status}."
        )
    else:
        print_table(
            ["MODEL", "VERSION", "STATUS", "ENDPOINT", "URL"],
            [[line.model, f"v{line.version}", line.status, line.endpoint, line.url] for line in lines],
        )


_STATES = ("ready", "asleep", "starting", "waking", "failing", "failed")
