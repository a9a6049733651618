"""The exact versions that a model was made with, as the requirements of its model.yaml."""

import importlib.metadata
import re
from collections.abc import Callable, Iterable, Mapping

from packaging.requirements import InvalidRequirement, Requirement
from packaging.version import InvalidVersion, Version

# A package under another name: the same code, without what only some machines need.
SAME: Mapping[str, tuple[str, ...]] = {
    "xgboost-cpu": ("xgboost",),
    "tensorflow-cpu": ("tensorflow",),
    "tensorflow": ("tensorflow-cpu",),
}


def installed(name: str) -> str | None:
    """The public version of a package that is installed here."""
    for each in (name, *SAME.get(name, ())):
        try:
            return Version(importlib.metadata.version(each)).public
        except (importlib.metadata.PackageNotFoundError, InvalidVersion):
            continue
    return None


def written(lines: Iterable[str]) -> Mapping[str, str]:
    """The versions that the lines of a requirements.txt name exactly, by package."""
    found: dict[str, str] = {}
    for line in lines:
        try:
            requirement = Requirement(line.partition("#")[0].strip())
        except InvalidRequirement:
            continue
        exact = [each.version for each in requirement.specifier if each.operator == "=="]
        if len(exact) == 1 and "*" not in exact[0]:
            found[canonical(requirement.name)] = exact[0].partition("+")[0]
    return found


def canonical(name: str) -> str:
    """A package's name as indexes write it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pinned(
    lines: Iterable[str], names: Iterable[str] = (), version_of: Callable[[str], str | None] = installed
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """For each of the requirements ``lines`` and packages ``names`` its version, as ``name==1.2``; and those that the
    requirements do not allow, in words. What has no version is left out."""
    found: dict[str, str] = {}
    notes: list[str] = []
    for line in (*lines, *names):
        requirement = Requirement(line)
        if requirement.marker is not None and not requirement.marker.evaluate():
            continue
        name = canonical(requirement.name)
        version = version_of(name)
        if version is None or name in found:
            continue
        if not requirement.specifier.contains(version, prereleases=True):
            notes.append(
                f"it was made with {name} {version}, and the platform runs it with {requirement.specifier}"
            )
            continue
        found[name] = f"{name}=={version}"
    return tuple(found[name] for name in sorted(found)), tuple(notes)


def packages_of(modules: Iterable[str]) -> tuple[str, ...]:
    """The names of the installed packages that the top-level ``modules`` are from."""
    owners = importlib.metadata.packages_distributions()
    return tuple(sorted({owners[module][0] for module in modules if module in owners}))
