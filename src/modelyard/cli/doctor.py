"""``modelyard doctor``: print what the control plane's examination of a home finds, and repair it; and what this
machine can hold models by."""

from modelyard.cli.output import print_json
from modelyard.client.location import find_home
from modelyard.control.doctor import Finding, examine, held_here, repair
from modelyard.core.routes import Confinement
from modelyard.core.settings import load_settings


def run(*, fix: bool, thorough: bool, as_json: bool) -> bool:
    """Examine, repairing first if asked; True when the home is in order at the end.

    Raises Conflict when a repair is asked for while the platform runs.
    """
    home = find_home()
    database = load_settings(home=str(home.root)).database
    repaired = repair(home, database=database) if fix and home.root.is_dir() else []
    findings = examine(home, thorough=thorough, database=database) if home.root.is_dir() else []
    held = held_here()
    if as_json:
        print_json(
            {"healthy": not findings, "findings": findings, "repaired": repaired, "confinement": held}
        )
        return not findings
    for finding in repaired:
        print(f"repaired: {_line(finding)}")
    for finding in findings:
        print(f"{_line(finding)}{' (--repair puts it right)' if finding.repairable else ''}")
    if not findings:
        print(
            f"{home.root} is in order." if home.root.is_dir() else f"There is no home at {home.root} yet."
        )
    for line in _confinement(held):
        print(line)
    return not findings


def _confinement(held: Confinement) -> list[str]:
    """What holds the code of models here, and what does not."""
    names = (
        ("files", "files that are not theirs"),
        ("modes", "modes, owners and times of files"),
        ("network", "the network"),
        ("signals", "signals to other programs"),
        ("processes", "more processes than they may have"),
    )
    kept = [f"{what} ({how})" for name, what in names if (how := getattr(held, name)) is not None]
    loose = [what for name, what in names if getattr(held, name) is None]
    return [
        *([f"Models are kept here from: {', '.join(kept)}."] if kept else []),
        *([f"This machine cannot keep them from: {', '.join(loose)}."] if loose else []),
        *(
            [
                f"What trust let in (--trust-pickle) does not run here: {' and '.join(lacks)} cannot be held whole."
            ]
            if (lacks := held.lacks)
            else []
        ),
    ]


def _line(finding: Finding) -> str:
    return f"{finding.kind.replace('_', ' ')}: {finding.subject}: {finding.message}"
