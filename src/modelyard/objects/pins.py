"""The exact versions that an object was made with, as the requirements of its model.yaml."""

import importlib.metadata
import re
from collections.abc import Iterable, Mapping

from packaging.requirements import Requirement
from packaging.version import InvalidVersion, Version

# A package under another name: the same code, without what only some machines need.
_SAME: Mapping[str, tuple[str, ...]] = {
    "xgboost-cpu": ("xgboost",),
    "tensorflow-cpu": ("tensorflow",),
    "tensorflow": ("tensorflow-cpu",),
}


def pinned(lines: Iterable[str], names: Iterable[str] = ()) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """For each of the requirements ``lines`` and packages ``names`` the version installed here, as ``name==1.2``; and
    those that the requirements do not allow, in words. What is not installed here is left out."""
    found: dict[str, str] = {}
    notes: list[str] = []
    for line in (*lines, *names):
        requirement = Requirement(line)
        if requirement.marker is not None and not requirement.marker.evaluate():
            continue
        name = re.sub(r"[-_.]+", "-", requirement.name).lower()
        version = installed(name)
        if version is None or name in found:
            continue
        if not requirement.specifier.contains(version, prereleases=True):
            notes.append(
                f"{name} {version} is installed here, and the platform runs it with {requirement.specifier}"
            )
            continue
        found[name] = f"{name}=={version}"
    return tuple(found[name] for name in sorted(found)), tuple(notes)


def installed(name: str) -> str | None:
    """The public version of a package that is installed here."""
    for each in (name, *_SAME.get(name, ())):
        try:
            return Version(importlib.metadata.version(each)).public
        except (importlib.metadata.PackageNotFoundError, InvalidVersion):
            continue
    return None


def packages_of(modules: Iterable[str]) -> tuple[str, ...]:
    """The names of the installed packages that the top-level ``modules`` are from."""
    owners = importlib.metadata.packages_distributions()
    return tuple(sorted({owners[module][0] for module in modules if module in owners}))
