"""Versions that may be looked at and not deployed: because of what was found in them, whenever that was."""

import logging
from collections.abc import Callable

from msgspec.structs import replace

from modelyard.analyze import families
from modelyard.core.errors import ModelyardError, RejectedContent
from modelyard.core.model import Version
from modelyard.core.scan import VerdictName, VersionScan
from modelyard.registry.scan.safety import Kept, Safety, told
from modelyard.store.versions import Versions

_log = logging.getLogger("modelyard.quarantine")

_AT_ONCE = 200  # versions of which is asked together what is known
# Whoever deploys these knows that they are programs.
CODE = frozenset({"function", "command"}) | families.names()


def reason(version: Version, scan: VersionScan) -> str | None:
    """Why a version may not be deployed by what its scan says; None: it may."""
    bad = [file for file in scan.files if file.verdict == "malicious"]
    if bad:
        return f"It is malicious: {told(bad, 'malicious')}."
    if version.trusted or version.analysis.adapter in CODE:
        return None
    if (found := _found(scan)) is not None:
        what, where = found
        return f"It {what}, and nobody said that it is trusted: {where}."
    return None


def _found(scan: VersionScan) -> tuple[str, str] | None:
    """The worst of what takes trust, and where it was found."""
    levels: tuple[tuple[VerdictName, str], ...] = (
        ("executes", "could run code"),
        ("unreadable", "cannot be read to the end"),
    )
    for level, what in levels:
        bad = [file for file in scan.files if file.verdict == level]
        if bad:
            return what, told(bad, level)
    return None


def let_in_by_trust(version: Version, scan: VersionScan) -> bool:
    """Whether it may be deployed only because somebody trusts it: what its files execute is its maker's to say. Files
    that were not looked at count as such; a program (CODE) needs no trust."""
    if not version.trusted or version.analysis.adapter in CODE:
        return False
    if version.analysis.executes != "no" or any(file.verdict == "unscanned" for file in scan.files):
        return True
    return reason(replace(version, trusted=False), scan) is not None


def trust_needed(version: Version, scan: VersionScan) -> str | None:
    """Why it could not be deployed without trust, as the rest of a sentence; None where it needs none."""
    analysis = version.analysis
    if analysis.adapter in CODE:
        return None
    if analysis.because and analysis.executes != "no":
        return analysis.because
    if analysis.executes == "pickle":
        return "loading a pickle runs whatever code is in it."
    if analysis.executes == "code":
        return "its model.yaml asks for packages beside a format that runs no code by itself, and a package can."
    if (found := _found(scan)) is not None:
        return f"it {found[0]}: {found[1]}."
    return None


def settle(versions: Versions, version: Version, scan: VersionScan) -> Version:
    """Put a version into quarantine, or take it out, by what its scan says."""
    why = reason(version, scan)
    if why == version.quarantine:
        return version
    if why is not None:
        _log.warning("%s version %d is in quarantine: %s", version.model, version.number, why)
    return versions.set_quarantine(version.model, version.number, why)


def require_safe(
    safety: Safety,
    versions: Versions,
    version: Version,
    *,
    progress: Callable[[str], None] = lambda _: None,
) -> Version:
    """Scan what has not been scanned by the present scanners, and raise RejectedContent when the version may not be
    deployed. Raises ScannerAway."""
    version = settle(versions, version, safety.scan(version, progress=progress))
    if version.quarantine is not None:
        raise RejectedContent(
            f"{version.model} version {version.number} is in quarantine. {version.quarantine} See `modelyard models "
            f"scan {version.model}/{version.number}`; when you trust it, deploy its files again with --trust-pickle "
            "--because 'WHY' (a malicious one is refused all the same).",
            field="version",
        )
    return version


def recheck(safety: Safety, versions: Versions, stop: Callable[[], bool] = lambda: False) -> int:
    """Scan every version again for which a scanner is new or has new signatures; how many changed."""
    changed = 0
    every = versions.all()
    kept: Kept = {}
    for place, version in enumerate(every):
        if stop():
            break
        if place % _AT_ONCE == 0:
            kept = safety.kept(every[place : place + _AT_ONCE])
        try:
            now = settle(versions, version, safety.scan(version, kept=kept))
        except ModelyardError as error:
            _log.warning(
                "%s version %d was not scanned again: %s", version.model, version.number, error.message
            )
            continue
        changed += now.quarantine != version.quarantine
    return changed
