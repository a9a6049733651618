"""Bills of materials: valid CycloneDX, what is installed as it says of itself, the same for the same thing."""

import hashlib
import json
import sys
from importlib.metadata import distribution, distributions
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from modelyard.core.manifest import FileEntry, Manifest
from modelyard.core.model import Analysis, Licence, Version
from modelyard.package.environment import Environment
from modelyard.package.sbom import environment_sbom, licence_of, version_sbom
from support.bill import problem

HASH = hashlib.sha256(b"a wheel").hexdigest()
LOCK = f"msgspec==0.19.0 \\\n    --hash=sha256:{HASH}\nuvloop==0.21.0\n"


@pytest.fixture(scope="module")
def environment() -> Environment:
    """The one that the tests run in: real packages with all that their authors wrote."""
    return Environment(
        id="ab" * 16,
        python=str(Path(sys.prefix) / "bin" / "python"),
        requirements=("msgspec", "uvloop"),
        lock=LOCK,
        interpreter="cpython-3.11.7-linux-x86_64",
        size=1,
        created=1.7e9,
    )


def version(licence: Licence | None = None) -> Version:
    files = (
        FileEntry(path="data/größe ä.txt", size=3, sha256="b" * 64),
        FileEntry(path="model.py", size=10, sha256="a" * 64),
    )
    manifest = Manifest(files=files)
    analysis = Analysis(
        format="python-function", adapter="function", requirements=("numpy>=1.26",), licence=licence
    )
    return Version(
        model="shout", number=3, digest=manifest.digest, manifest=manifest, analysis=analysis, created=1.7e9
    )


def valid(text: str) -> dict:
    assert problem(text) is None
    return json.loads(text)


def test_an_environment_lists_what_is_installed_in_it(environment: Environment) -> None:
    bill = valid(environment_sbom(environment))
    found = {each["name"]: each for each in bill["components"]}
    installed = {
        canonicalize_name(each.metadata["Name"]) for each in distributions(path=[str(Path(sys.path[-1]))])
    }
    installed |= {canonicalize_name(each.metadata["Name"]) for each in distributions()}
    assert {"msgspec", "uvloop", "cpython"} <= found.keys() <= installed | {"cpython"}
    assert len(found) > 100
    msgspec = found["msgspec"]
    there = distribution("msgspec").version
    assert (msgspec["version"], msgspec["purl"]) == (there, f"pkg:pypi/msgspec@{there}")
    assert msgspec["hashes"] == [{"alg": "SHA-256", "content": HASH}]
    assert msgspec["licenses"][0]["license"]["id"] == "BSD-3-Clause"
    assert "hashes" not in found["uvloop"]  # the lock has none
    record = distribution("uvloop").read_text("RECORD")
    assert record is not None
    pinned = hashlib.sha256(record.encode()).hexdigest()
    assert {"name": "modelyard:record-sha256", "value": pinned} in found["uvloop"]["properties"]
    needs = {each["ref"]: each.get("dependsOn", []) for each in bill["dependencies"]}
    sqlalchemy = found["sqlalchemy"]["bom-ref"]
    assert found["typing-extensions"]["bom-ref"] in needs[sqlalchemy]
    assert len(needs[f"environment:{environment.id}"]) == len(found)
    assert (found["cpython"]["version"], found["cpython"]["type"]) == ("3.11.7", "platform")


def test_a_version_lists_its_files_and_the_packages_it_ran_with(environment: Environment) -> None:
    bill = valid(
        version_sbom(version(Licence(spdx="Apache-2.0", place="LICENSE", likeness=1.0)), environment)
    )
    root = bill["metadata"]["component"]
    assert (root["type"], root["name"], root["version"]) == ("machine-learning-model", "shout", "3")
    assert root["licenses"] == [{"license": {"id": "Apache-2.0"}}]
    files = {each["name"]: each for each in bill["components"] if each["type"] == "file"}
    assert files["model.py"]["hashes"] == [{"alg": "SHA-256", "content": "a" * 64}]
    assert files.keys() == {"model.py", "data/größe ä.txt"}
    assert any(each["name"] == "msgspec" for each in bill["components"])


@pytest.mark.parametrize(
    ("spdx", "told"),
    [
        ("MIT OR Apache-2.0", {"expression": "MIT OR Apache-2.0"}),
        ("LicenseRef-llama3", {"license": {"name": "LicenseRef-llama3"}}),
    ],
)
def test_licences_are_told_as_the_standard_has_them(spdx: str, told: dict) -> None:
    bill = valid(version_sbom(version(Licence(spdx=spdx, place="README.md")), None))
    assert bill["metadata"]["component"]["licenses"] == [told]


def test_without_an_environment_it_says_what_the_model_asks_for() -> None:
    bill = valid(version_sbom(version(), None))
    asked = [
        each["value"]
        for each in bill["metadata"]["component"]["properties"]
        if each["name"] == "modelyard:requires"
    ]
    assert asked == ["numpy>=1.26"]
    assert {each["type"] for each in bill["components"]} == {"file"}


def test_the_same_thing_has_the_same_bill(environment: Environment) -> None:
    assert environment_sbom(environment) == environment_sbom(environment)
    assert version_sbom(version(), None) == version_sbom(version(), None)


def test_most_packages_say_a_licence_that_spdx_knows(environment: Environment) -> None:
    bill = json.loads(environment_sbom(environment))
    told = [each.get("licenses", [{}])[0] for each in bill["components"] if each["type"] == "library"]
    known = [each for each in told if "expression" in each or "id" in each.get("license", {})]
    assert len(known) >= 0.8 * len(told)
    assert licence_of(distribution("packaging")) == "Apache-2.0 OR BSD-2-Clause"
