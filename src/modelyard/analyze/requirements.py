"""requirements.txt of a Python function: package lines only, so that an environment can be locked."""

import re

from packaging.requirements import InvalidRequirement, Requirement

from modelyard.core.errors import RejectedContent
from modelyard.core.files import Files

PATH = "requirements.txt"
MAX_SIZE = 1024 * 1024


def read_requirements(files: Files) -> tuple[str, ...]:
    """The PEP 508 lines of requirements.txt; none when there is no such file.

    Comments, blank lines and continuations (a backslash at the end) are understood. Options (``-r``,
    ``-e``, ``--hash`` …), addresses and paths raise RejectedContent with the line's number.
    """
    if PATH not in files.paths:
        return ()
    if files.size(PATH) > MAX_SIZE:
        raise RejectedContent(
            f"{PATH} has {files.size(PATH)} bytes; at most {MAX_SIZE} are read.", field=PATH
        )
    try:
        text = files.read(PATH).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RejectedContent(f"{PATH} is not UTF-8.", field=PATH) from error
    found: list[str] = []
    joined, start = "", 0
    for number, line in enumerate([*text.splitlines(), ""], 1):
        start = start or number
        if line.endswith("\\") and not line.lstrip().startswith("#"):
            joined += line[:-1]
            continue
        requirement = re.sub(r"(^|\s)#.*$", "", joined + line).strip()
        if requirement:
            found.append(_check(requirement, start))
        joined, start = "", 0
    return tuple(found)


def _check(line: str, number: int) -> str:
    field = f"{PATH}:{number}"
    if line.startswith("-"):
        raise RejectedContent(
            f"{PATH}, line {number}: the option {line.split()[0].split('=')[0][:40]!r} is not used here; list the "
            "packages themselves.",
            field=field,
        )
    if re.match(r"(\.{0,2}/|~|[a-zA-Z]:\\)|[a-z+]+://|\S+\.(whl|zip|tar\.gz)$", line) or "://" in line:
        raise RejectedContent(
            f"{PATH}, line {number}: {line[:100]!r} is an address or a path; only packages of an index can be "
            "installed. Put the package on an index, or its code beside model.py.",
            field=field,
        )
    try:
        return str(Requirement(line))
    except InvalidRequirement as error:
        told = str(error).splitlines()[0]
        raise RejectedContent(
            f"{PATH}, line {number}: {line[:100]!r} is not a requirement ({told}).", field=field
        ) from error
