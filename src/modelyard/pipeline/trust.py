"""What whoever deploys a version that trust let in is to know of how it runs."""

from modelyard.core.deployment import Leave
from modelyard.core.model import Version
from modelyard.core.scan import VersionScan
from modelyard.registry.quarantine import let_in_by_trust


def told(version: Version, scan: VersionScan, leave: Leave, *, confined: bool) -> list[str]:
    """Sentences; none of a version that needed no trust. ``confined``: the setting ``confine`` is not "off"."""
    if not let_in_by_trust(version, scan):
        return []
    name = f"{version.model} version {version.number}"
    lines: list[str] = []
    if not confined:
        lines.append(
            f"Trust let {name} in, and the setting confine is 'off': nothing keeps what its files run from this "
            "machine's files and its network."
        )
    elif version.analysis.network and leave.network is None:
        lines.append(
            f"The model.yaml of {name} asks for the network, and trust let it in: it has none unless you give it "
            "leave (--network)."
        )
    return lines
