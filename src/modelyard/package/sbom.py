"""Bills of materials in CycloneDX JSON: of an environment, by what is installed in it; of a version, with its files.

Equal things have equal bills, to the byte: the serial number comes from the digest, the time from when it was made.
"""

import hashlib
import re
import uuid
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import Distribution, distributions
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import NormalizedName, canonicalize_name

from modelyard.core.model import Version
from modelyard.core.version import VERSION
from modelyard.package.environment import Environment

_NAMESPACE: Final = uuid.UUID(
    "9b0b5d0e-6a52-5b53-8c5e-7a1f3a0f6f55"
)  # of our serial numbers (RFC 9562, version 5)
_HASH: Final = re.compile(r"--hash=sha256:([0-9a-f]{64})")
# Classifiers of packages that are older than License-Expression (PEP 639), where one licence alone is meant.
_CLASSIFIERS: Final = {
    "MIT License": "MIT", "Apache Software License": "Apache-2.0", "ISC License (ISCL)": "ISC",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0", "Python Software Foundation License": "PSF-2.0",
    "The Unlicense (Unlicense)": "Unlicense", "zlib/libpng License": "Zlib", "Boost Software License 1.0 (BSL-1.0)": "BSL-1.0",
    "GNU General Public License v3 (GPLv3)": "GPL-3.0-only", "GNU General Public License v2 (GPLv2)": "GPL-2.0-only",
    "GNU General Public License v3 or later (GPLv3+)": "GPL-3.0-or-later",
    "GNU Lesser General Public License v3 (LGPLv3)": "LGPL-3.0-only",
    "GNU Affero General Public License v3": "AGPL-3.0-only", "MIT No Attribution License (MIT-0)": "MIT-0",
}  # fmt: skip
_LONGEST: Final = 300  # characters of a licence's name; some packages put the whole text there


def environment_sbom(environment: Environment) -> str:
    """CycloneDX 1.6 of the packages that are installed in ``environment``, and of its interpreter."""

    root = _cyclonedx().Component(
        name="modelyard-environment",
        version=environment.id,
        type=_cyclonedx().ComponentType.APPLICATION,
        bom_ref=f"environment:{environment.id}",
    )
    bom = _bom(root, environment.id, environment.created)
    _add_environment(bom, root, environment)
    return _text(bom)


def version_sbom(version: Version, environment: Environment | None) -> str:
    """CycloneDX 1.6 of a version's files, its licence, and the packages of ``environment``. Without one, what it
    asks for is told as properties, because nobody knows yet which packages that will be."""

    licence = version.analysis.licence
    root = _cyclonedx().Component(
        name=version.model,
        version=str(version.number),
        type=_cyclonedx().ComponentType.MACHINE_LEARNING_MODEL,
        bom_ref=f"model:{version.model}/{version.number}",
        licenses=_licences(licence.spdx if licence is not None else None),
        properties=[
            _cyclonedx().Property(name="modelyard:digest", value=version.digest),
            _cyclonedx().Property(name="modelyard:format", value=version.analysis.format),
            _cyclonedx().Property(name="modelyard:adapter", value=version.analysis.adapter),
        ],
    )
    bom = _bom(root, f"{version.model}/{version.number}/{version.digest}", version.created)
    files = [
        _cyclonedx().Component(
            name=file.path,
            type=_cyclonedx().ComponentType.FILE,
            bom_ref=f"file:{file.path}",
            hashes=[_cyclonedx().HashType(alg=_cyclonedx().HashAlgorithm.SHA_256, content=file.sha256)],
            properties=[_cyclonedx().Property(name="modelyard:size", value=str(file.size))],
        )
        for file in version.manifest.files
    ]
    for file in files:
        bom.components.add(file)
    bom.register_dependency(root, files)
    if environment is not None:
        _add_environment(bom, root, environment)
    else:
        for line in version.analysis.requirements:
            root.properties.add(_cyclonedx().Property(name="modelyard:requires", value=line))
    return _text(bom)


def _bom(root: Any, identity: str, made: float) -> Any:

    ours = _cyclonedx().Component(
        name="modelyard", version=VERSION, type=_cyclonedx().ComponentType.APPLICATION
    )
    metadata = _cyclonedx().BomMetaData(
        component=root,
        timestamp=datetime.fromtimestamp(int(made), UTC),
        tools=_cyclonedx().ToolRepository(components=[ours]),
    )
    return _cyclonedx().Bom(serial_number=uuid.uuid5(_NAMESPACE, identity), metadata=metadata)


def _add_environment(bom: Any, root: Any, environment: Environment) -> None:

    name, _, version = environment.interpreter.partition("-")
    numbers = re.search(r"\d+\.\d+(\.\d+)?\w*", environment.interpreter)
    kind = "pypy" if "pypy" in environment.interpreter.lower() else "cpython"
    python = _cyclonedx().Component(
        name=kind,
        version=numbers[0] if numbers else version or name,
        type=_cyclonedx().ComponentType.PLATFORM,
        bom_ref=f"interpreter:{environment.interpreter}",
        purl=_cyclonedx().PackageURL("generic", name=kind, version=numbers[0] if numbers else None),
        properties=[_cyclonedx().Property(name="modelyard:interpreter", value=environment.interpreter)],
    )
    hashes = _hashes(environment.lock)
    found = {
        canonicalize_name(each.metadata["Name"]): each
        for each in _installed(environment)
        if each.metadata["Name"]
    }
    components = {name: _package(each, hashes.get(name, [])) for name, each in sorted(found.items())}
    for component in (python, *components.values()):
        bom.components.add(component)
    bom.register_dependency(root, [python, *components.values()])
    for name, component in components.items():
        bom.register_dependency(
            component, [components[each] for each in _needs(found[name]) if each in components]
        )


def _installed(environment: Environment) -> Iterator[Distribution]:
    """What lies in its site-packages."""
    places = (Path(environment.python).parent.parent / "lib").glob("*/site-packages")
    yield from distributions(path=[str(place) for place in places])


def _package(found: Distribution, hashes: Iterable[str]) -> Any:

    name, version = canonicalize_name(found.metadata["Name"]), found.version
    record = found.read_text("RECORD")
    return _cyclonedx().Component(
        name=name,
        version=version,
        type=_cyclonedx().ComponentType.LIBRARY,
        bom_ref=f"pkg:pypi/{name}@{version}",
        description=(found.metadata["Summary"] or "")[:500] or None,
        licenses=_licences(licence_of(found)),
        purl=_cyclonedx().PackageURL("pypi", name=name, version=version),
        hashes=[
            _cyclonedx().HashType(alg=_cyclonedx().HashAlgorithm.SHA_256, content=each) for each in hashes
        ],
        # The list of its files with their SHA-256: what is installed, where the lock has no hash of the wheel.
        properties=[_cyclonedx().Property(name="modelyard:record-sha256", value=_sha256(record))]
        if record
        else [],
    )


def licence_of(found: Distribution) -> str | None:
    """The licence that a package's metadata states: an SPDX expression where it can be one, else its own words."""
    stated = [found.metadata["License-Expression"], found.metadata["License"]]
    for text in stated:
        if text and (spdx := _spdx(text)) is not None:
            return spdx
    told = [
        line.rpartition(" :: ")[2]
        for line in found.metadata.get_all("Classifier") or ()
        if line.startswith("License :: ")
    ]
    named = [_CLASSIFIERS[each] for each in told if each in _CLASSIFIERS]
    if len(named) == 1 == len(told):
        return named[0]
    words = next(
        (line.strip() for text in stated if text for line in text.splitlines() if line.strip()), None
    )
    return (words or ", ".join(told) or "")[:_LONGEST] or None


def _spdx(text: str) -> str | None:
    if len(text) > _LONGEST:
        return None
    try:
        return str(canonicalize_license_expression(text))
    except InvalidLicenseExpression:
        return None


def _licences(text: str | None) -> list[Any]:
    """As CycloneDX has them: an identifier, an expression, or a name."""

    if not text:
        return []
    spdx = _spdx(text)
    if spdx is None:
        return [_cyclonedx().DisjunctiveLicense(name=text)]
    if " " in spdx:
        return [_cyclonedx().LicenseExpression(value=spdx)]
    return [
        _cyclonedx().DisjunctiveLicense(name=spdx)
        if spdx.startswith("LicenseRef-")
        else _cyclonedx().DisjunctiveLicense(id=spdx)
    ]


def _needs(found: Distribution) -> list[NormalizedName]:
    """The packages that it asks for without an extra."""
    names: list[NormalizedName] = []
    for line in found.requires or ():
        try:
            wanted = Requirement(line)
        except InvalidRequirement:
            continue  # of a package older than the standard; it is installed all the same
        if wanted.marker is None or "extra" not in str(wanted.marker):
            names.append(canonicalize_name(wanted.name))
    return names


def _hashes(lock: str) -> dict[NormalizedName, list[str]]:
    """By package, those that the lock has."""
    found: dict[NormalizedName, list[str]] = {}
    name = canonicalize_name("")
    for line in lock.splitlines():
        if line and line[0] not in "#- \t":
            name = canonicalize_name(re.split(r"[=\s\[;@]", line, maxsplit=1)[0])
        found.setdefault(name, []).extend(_HASH.findall(line))
    return found


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _text(bom: Any) -> str:

    return _cyclonedx().JsonV1Dot6(bom).output_as_string(indent=2)


@cache
def _cyclonedx() -> Any:
    """The library's classes, loaded when the first bill is written; its decorators hide their types."""
    from cyclonedx.model import HashAlgorithm, HashType, Property
    from cyclonedx.model.bom import Bom, BomMetaData
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.model.license import DisjunctiveLicense, LicenseExpression
    from cyclonedx.model.tool import ToolRepository
    from cyclonedx.output.json import JsonV1Dot6
    from packageurl import PackageURL

    return SimpleNamespace(
        Bom=Bom, BomMetaData=BomMetaData, Component=Component, ComponentType=ComponentType, DisjunctiveLicense=DisjunctiveLicense,
        HashAlgorithm=HashAlgorithm, HashType=HashType, JsonV1Dot6=JsonV1Dot6, LicenseExpression=LicenseExpression,
        PackageURL=PackageURL, Property=Property, ToolRepository=ToolRepository,
    )  # fmt: skip
