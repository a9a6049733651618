"""``modelyard doctor``: print what the control plane's examination of a home finds, and repair it."""

from modelyard.cli.output import print_json
from modelyard.client.location import find_home
from modelyard.control.doctor import Finding, examine, repair


def run(*, fix: bool, thorough: bool, as_json: bool) -> bool:
    """Examine, repairing first if asked; True when the home is in order at the end.

    Raises Conflict when a repair is asked for while the platform runs.
    """
    home = find_home()
    repaired = repair(home) if fix and home.root.is_dir() else []
    findings = examine(home, thorough=thorough) if home.root.is_dir() else []
    if as_json:
        print_json({"healthy": not findings, "findings": findings, "repaired": repaired})
        return not findings
    for finding in repaired:
        print(f"repaired: {_line(finding)}")
    for finding in findings:
        print(f"{_line(finding)}{' (--repair puts it right)' if finding.repairable else ''}")
    if not findings:
        print(
            f"{home.root} is in order." if home.root.is_dir() else f"There is no home at {home.root} yet."
        )
    return not findings


def _line(finding: Finding) -> str:
    return f"{finding.kind.replace('_', ' ')}: {finding.subject}: {finding.message}"
