"""``modelyard logs``: the last lines, and those that come."""

import time

from modelyard.cli.common import client
from modelyard.cli.output import print_json

_PAUSE = 0.5  # seconds between two looks
_LINES = 2000  # how far back a look goes; more than is written within a pause


def run(name: str, tail: int, *, follow: bool, as_json: bool) -> None:
    """Raises NotFound for an endpoint that is not there."""
    with client() as platform:
        lines = platform.logs(name, tail=tail).splitlines()
        if as_json:
            print_json({"endpoint": name, "lines": lines})
            return
        for line in lines:
            print(_harmless(line))
        if not follow:
            return
        lines = platform.logs(name, tail=_LINES).splitlines()
        while True:
            time.sleep(_PAUSE)
            now = platform.logs(name, tail=_LINES).splitlines()
            for line in added(lines, now):
                print(_harmless(line), flush=True)
            lines = now


def _harmless(line: str) -> str:
    """A model's words cannot move the cursor or rename the window of who reads them."""
    return "".join(c if c.isprintable() or c == "\t" else "\N{REPLACEMENT CHARACTER}" for c in line)


def added(before: list[str], after: list[str]) -> list[str]:
    """The lines at the end of ``after`` that are not yet in ``before``: both are ends of one growing text."""
    for kept in range(min(len(before), len(after)), 0, -1):
        if before[len(before) - kept :] == after[:kept]:
            return after[kept:]
    return after
