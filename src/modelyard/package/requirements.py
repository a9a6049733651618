"""The requirements of a model: PEP 508 lines, checked and brought to one form."""

from collections.abc import Sequence

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from modelyard.core.errors import RejectedContent


def normalize(requirements: Sequence[str]) -> tuple[str, ...]:
    """The lines sorted, without comments and repetitions, each in one spelling.

    Two lists that mean the same come out equal. Raises RejectedContent (field ``requirements[i]``) for
    a line that is not PEP 508 (pip's options such as ``-r`` and ``--index-url`` are not), and for a
    direct address that is not a wheel over HTTPS.
    """
    normal = {
        _normal(line, index) for index, raw in enumerate(requirements) if (line := _without_comment(raw))
    }
    return tuple(sorted(normal))


def _without_comment(line: str) -> str:
    """pip's rule: a comment begins at ``#`` that stands first or after white space."""
    line = line.strip()
    if line.startswith("#"):
        return ""
    for position, character in enumerate(line):
        if character == "#" and line[position - 1].isspace():
            return line[:position].strip()
    return line


def _normal(line: str, index: int) -> str:
    field = f"requirements[{index}]"
    if line.startswith("-"):
        raise RejectedContent(
            f"The requirement {line[:100]!r} is an option of pip; list packages only, such as 'numpy>=1.26'. "
            "Where packages come from is the configuration of the machine.",
            field=field,
        )
    try:
        requirement = Requirement(line)
    except InvalidRequirement as error:
        reason = str(error).splitlines()[0]
        raise RejectedContent(
            f"The requirement {line[:100]!r} cannot be read ({reason}); write it as 'numpy>=1.26,<3'.",
            field=field,
        ) from error
    address = requirement.url
    if address is not None and not (
        address.startswith("https://") and address.partition("#")[0].endswith(".whl")
    ):
        raise RejectedContent(
            f"The requirement {requirement.name!r} points to something that is not a wheel over HTTPS; "
            "publish it as a wheel, or name a package of the index.",
            field=field,
        )
    requirement.name = canonicalize_name(requirement.name)
    requirement.extras = {canonicalize_name(extra) for extra in requirement.extras}
    return str(requirement)
