"""What a model needs of the machine: Debian packages, checked before its environment is built, never installed.

A name is there when dpkg has it installed, or something that is installed provides it (the packages of the
transition to 64-bit times do: libglib2.0-0t64 is libglib2.0-0), or a program of that name is on the path. A
name with ``.so`` in it is a library, looked for as the dynamic linker does. The format of a package's fields is
that of https://www.debian.org/doc/debian-policy/ch-controlfields.html.
"""

import ctypes.util
import re
import shutil
import subprocess
from collections.abc import Sequence

from modelyard.core.errors import RejectedContent

_PATIENCE = 60.0  # seconds that dpkg-query may take
_FORM = "${db:Status-Status}\t${Package}\t${Provides}\n"


def check_system(names: Sequence[str]) -> tuple[str, ...]:
    """Raises RejectedContent, with the line that installs them, when packages are missing; the names that could
    not be looked for, because this machine has no dpkg."""
    missing = [name for name in names if not (_is_library(name) or shutil.which(name))]
    libraries = [name for name in names if ".so" in name and name in missing]
    packages = [name for name in missing if name not in libraries]
    unknown: tuple[str, ...] = ()
    if packages:
        there = _installed()
        if there is None:
            packages, unknown = [], tuple(packages)
        else:
            packages = [name for name in packages if name not in there]
    if not packages and not libraries:
        return unknown
    told: list[str] = []
    if packages:
        told.append(
            f"The model needs {_listed(packages)} of this machine, which {'are' if len(packages) > 1 else 'is'} not "
            f"installed. Install {'them' if len(packages) > 1 else 'it'}, then deploy again: "
            f"apt-get install {' '.join(packages)}"
        )
    if libraries:
        told.append(
            f"The model needs {_listed(libraries)}, which the dynamic linker of this machine does not find; install the "
            "package that has it."
        )
    raise RejectedContent(" ".join(told), field="system_packages")


def _installed() -> frozenset[str] | None:
    """The packages that are installed, and what they provide; None without dpkg."""
    program = shutil.which("dpkg-query")
    if program is None:
        return None
    try:
        done = subprocess.run(
            [program, "--show", f"--showformat={_FORM}"],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=_PATIENCE,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    if done.returncode:
        return None
    found: set[str] = set()
    for line in done.stdout.splitlines():
        status, name, provides = (*line.split("\t"), "", "")[:3]
        if status == "installed":
            found.add(name)
            found |= {each for each in re.sub(r"\([^)]*\)", "", provides).replace(",", " ").split() if each}
    return frozenset(found)


def _is_library(name: str) -> bool:
    """Whether ``name`` is a library that the dynamic linker's cache or folders have."""
    if ".so" not in name or "/" in name:
        return False
    program = shutil.which("ldconfig") or shutil.which("ldconfig", path="/usr/sbin:/sbin")
    if program is None:
        return ctypes.util.find_library(name.partition(".so")[0].removeprefix("lib")) is not None
    done = subprocess.run([program, "-p"], capture_output=True, text=True, timeout=_PATIENCE)
    return re.search(rf"^\s*{re.escape(name)}(\s|$)", done.stdout, re.MULTILINE) is not None


def _listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
