"""``modelyard models scan``: what scanners say of each file of a version."""

from modelyard.cli.common import client
from modelyard.cli.output import format_date, print_json, print_table, say
from modelyard.cli.versions import version_of
from modelyard.core.scan import VersionScan


def scan_version(version: str, *, again: bool, as_json: bool) -> None:
    """Raises NotFound, InvalidInput for what names no version."""
    with client() as platform:
        wanted = version_of(platform, version)
        if not as_json:
            say(f"Scanning {wanted.model} version {wanted.number} ...")
        found = platform.scan(wanted.model, wanted.number, again=again)
    if as_json:
        print_json(found)
    else:
        _print(found)


def _print(found: VersionScan) -> None:
    print(f"{found.model} version {found.number}: {found.verdict}\n")
    rows = [
        [file.path, verdict.scanner, verdict.version[:40], verdict.verdict, format_date(verdict.time)]
        for file in found.files
        for verdict in file.verdicts
    ]
    print_table(["FILE", "SCANNER", "VERSION", "VERDICT", "SCANNED"], rows)
    lines = [
        (file.path + (f"/{each.where}" if each.where else ""), each)
        for file in found.files
        for verdict in file.verdicts
        for each in verdict.findings
    ]
    if lines:
        print()
    for where, each in lines:
        at = f" at byte {each.offset}" if each.offset is not None else ""
        print(f"{each.level}: {where}{at}: {each.what}")
    more = sum(verdict.more for file in found.files for verdict in file.verdicts)
    if more:
        print(f"and {more} more")
    for name, why in found.absent.items():
        print(f"note: {name} did not look: {why}")
    if found.quarantine is not None:
        print(f"\nIn quarantine, it cannot be deployed. {found.quarantine}")
