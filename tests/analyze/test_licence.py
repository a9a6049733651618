"""Licences: told by the text itself, by the hub's words, and never guessed."""

import json
import re
from importlib.metadata import distributions
from pathlib import Path

import pytest

from modelyard.analyze import analyze
from modelyard.analyze.licence import identify, spdx_of

APACHE = (Path(__file__).parents[2] / "LICENSE").read_text()
FUNCTION = b"def predict(text: str): ...\n"


def test_our_own_licence_is_told_by_its_text() -> None:
    assert identify(APACHE) is not None
    name, alike = identify(APACHE) or ("", 0.0)
    assert name == "Apache-2.0"
    assert alike > 0.95


def test_the_licence_files_of_installed_packages_are_told_as_their_authors_say() -> None:
    """Real texts, with names and years filled in. Some hold several licences, and are told as none."""
    right, wrong, none = [], [], []
    for each in distributions():
        stated = each.metadata["License-Expression"]
        if not stated or " " in stated:
            continue
        # The text is the same for both; which it is, the author says elsewhere.
        stated = stated.replace("-or-later", "-only")
        for file in each.files or ():
            if re.fullmatch(r"(LICEN[CS]E|COPYING)(\.(txt|md|rst))?", file.name) and "dist-info" in str(
                file
            ):
                found = identify(Path(str(each.locate_file(file))).read_text(errors="replace"))
                kind = none if found is None else right if found[0] == stated else wrong
                kind.append((each.metadata["Name"], stated, found))
    assert len(right) > 50
    assert wrong == []
    assert len(none) < len(right) / 5


@pytest.mark.parametrize(
    "path", ["Apache-2.0", "CC0-1.0", "GPL-2", "GPL-3", "LGPL-2.1", "LGPL-3", "MPL-2.0", "BSD"]
)
def test_texts_that_debian_has_are_told(path: str) -> None:
    place = Path("/usr/share/common-licenses") / path
    if not place.is_file():
        pytest.skip("this is no Debian")
    found = identify(place.read_text(errors="replace"))
    called = {"GPL-2": "GPL-2.0-only", "GPL-3": "GPL-3.0-only", "LGPL-2.1": "LGPL-2.1-only", "LGPL-3": "LGPL-3.0-only", "BSD": "BSD-3-Clause"}  # fmt: skip
    assert found is not None and found[0] == called.get(path, path)


@pytest.mark.parametrize(
    ("text", "spdx"),
    [
        ("apache-2.0", "Apache-2.0"),
        ("MIT", "MIT"),
        ("cc-by-nc-4.0", "CC-BY-NC-4.0"),
        ("mit OR apache-2.0", "MIT OR Apache-2.0"),
        ("gpl-3.0", "GPL-3.0-only"),
        ("llama3.1", "LicenseRef-llama3.1"),
        ("Gemma Terms of Use", "LicenseRef-Gemma-Terms-of-Use"),
        ("", None),
        ("  ", None),
    ],
)
def test_what_people_write_becomes_spdx(text: str, spdx: str | None) -> None:
    assert spdx_of(text) == spdx


@pytest.mark.parametrize(
    "text", ["", "All rights reserved.", "licence " * 300, "\x00\xff" * 100, "You may do as we say. " * 50]
)
def test_what_is_no_known_licence_is_not_guessed_at(text: str) -> None:
    assert identify(text) is None


def test_a_line_that_names_it_counts() -> None:
    assert identify("# SPDX-License-Identifier: BSD-2-Clause\n") == ("BSD-2-Clause", 1.0)


def test_a_model_has_the_licence_of_its_files(files_of) -> None:
    found = analyze(files_of({"model.py": FUNCTION, "LICENSE.txt": APACHE.encode()}))
    assert found.licence is not None
    assert (found.licence.spdx, found.licence.place) == ("Apache-2.0", "LICENSE.txt")
    assert found.licence.likeness is not None and found.licence.likeness > 0.95
    assert analyze(files_of({"model.py": FUNCTION})).licence is None
    unknown = {"model.py": FUNCTION, "LICENSE": b"Ask Alice."}
    assert analyze(files_of(unknown)).licence is None


def test_two_that_differ_are_told(files_of, embedder: dict[str, bytes]) -> None:
    same = analyze(files_of({**embedder, "LICENSE": APACHE.encode()}))
    assert same.licence is not None
    assert (same.licence.spdx, same.licence.place, same.warnings) == ("Apache-2.0", "README.md", ())
    other = {**embedder, "README.md": b"---\nlicense: cc-by-nc-4.0\n---\n", "LICENSE": APACHE.encode()}
    found = analyze(files_of(other))
    assert found.licence is not None and found.licence.spdx == "CC-BY-NC-4.0"
    assert found.warnings == ("README.md says the licence CC-BY-NC-4.0, LICENSE Apache-2.0.",)


def test_another_one_of_the_hub_is_told_by_its_name(files_of, embedder: dict[str, bytes]) -> None:
    readme = b"---\nlicense: other\nlicense_name: llama3.1\n---\n"
    found = analyze(files_of({**embedder, "README.md": readme}))
    assert found.licence is not None and found.licence.spdx == "LicenseRef-llama3.1"


def test_the_data_is_what_the_code_reads() -> None:
    place = Path(__file__).parents[2] / "src" / "modelyard" / "analyze" / "licences.json"
    held = json.loads(place.read_text())
    assert {"MIT", "Apache-2.0", "CC-BY-NC-4.0", "JSON"} <= held.keys()
    assert len(held) > 100
