"""What every entry asks for can be installed: resolved against the index as a deployment would, not installed."""

import platform
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from modelyard.analyze import esm2, gguf, onnx, perception, pretrained
from modelyard.analyze.families import families
from modelyard.catalog import recipe
from modelyard.catalog.catalog import load
from modelyard.catalog.entry import Entry
from modelyard.core.errors import ModelyardError, Unavailable
from modelyard.package.environment import Environments

# The least that an adapter asks for; a folder's own files may ask for more.
LEAST: dict[str, tuple[str, ...]] = {
    "transformers": pretrained.TORCH,
    "sentence_embedding": pretrained.TORCH,
    "image": (*pretrained.TORCH, *perception.PICTURES),
    "audio": (*pretrained.TORCH, *perception.SOUNDS),
    "esm2": esm2.REQUIREMENTS,
    "onnx": onnx.REQUIREMENTS,
    "gguf": gguf.REQUIREMENTS,
} | {family.NAME: family.described.requirements for family in families()}
FAMILIES = {family.NAME for family in families()}

# What wants another Python than the running one may be. Its entry says which; the reason must too.
ANOTHER_PYTHON = ("esmc-300m", "esmc-600m", "esmc-6b", "esmfold2")
# Their package wants an old PyTorch: where a folder with a newer one for the CPU is configured, that is taken.
DEPENDS_ON_THE_MACHINE = {
    "scgpt-whole-human": "depends on torch==1.13.0",
}
# Code that is on no index, or there by somebody who does not say who it is: an environment has packages of the
# index alone.
ADDRESSES = {
    "clip-vit-b32": "clip of OpenAI is on no index",
    "sam-vit-b": "the index's segment-anything does not say whose it is",
    "rinalmo-giga": "rinalmo is on no index",
    "rinalmo-mega": "rinalmo is on no index",
    "rinalmo-micro": "rinalmo is on no index",
}


def asked(entry: Entry) -> tuple[str, ...]:
    """The requirements that a deployment of the entry resolves. A family needs what it says itself."""
    if entry.recipe is not None:
        return tuple(recipe.declared_by(entry).get("requirements", ()))
    if entry.adapter in FAMILIES:
        return LEAST[entry.adapter]
    package = entry.source.package
    with_code = package is not None and entry.source.path is None and not entry.source.folders
    return (
        *LEAST.get(entry.adapter, ()),
        *entry.requirements,
        *((package,) if with_code and package else ()),
    )


def has_address(entry: Entry) -> bool:
    return any(Requirement(line).url is not None for line in asked(entry))


@pytest.fixture(scope="module")
def refused(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Why those cannot be resolved that cannot, by the entry's name."""
    wanted: defaultdict[tuple[str, ...], list[str]] = defaultdict(list)
    for entry in load().entries.values():
        if not has_address(entry):
            wanted[tuple(sorted(set(asked(entry))))].append(entry.name)
    environments = Environments(tmp_path_factory.mktemp("environments"))

    def resolve(requirements: tuple[str, ...]) -> str | None:
        try:
            environments.resolve(requirements)
        except Unavailable:
            raise
        except ModelyardError as error:
            return str(error)
        return None

    threads = ThreadPoolExecutor(4)
    try:
        reasons = list(threads.map(resolve, wanted))
    except Unavailable:
        pytest.skip("the package index cannot be reached")
    finally:
        threads.shutdown(cancel_futures=True)
    return {
        name: reason
        for names, reason in zip(wanted.values(), reasons, strict=True)
        if reason is not None
        for name in names
    }


@pytest.mark.timeout(300)
def test_what_every_entry_asks_for_can_be_installed_together(refused: dict[str, str]) -> None:
    known = {
        name: f"depends on Python{load().get(name).python}"
        for name in ANOTHER_PYTHON
        if not SpecifierSet(load().get(name).python or "").contains(platform.python_version())
    }
    known |= {name: words for name, words in DEPENDS_ON_THE_MACHINE.items() if name in refused}
    assert {name: reason for name, reason in refused.items() if name not in known} == {}
    for name, words in known.items():
        assert words in refused.get(name, "it resolves"), f"{name} fails for another reason, or not at all"


def test_no_entry_asks_for_an_address_without_need() -> None:
    assert {entry.name for entry in load().entries.values() if has_address(entry)} == ADDRESSES.keys()
