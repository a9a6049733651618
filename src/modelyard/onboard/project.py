"""Who a project is and what it needs: from its metadata, its build files and its lists of requirements.

``setup.py`` is read as syntax; what it computes is not known.
"""

import ast
import configparser
import email.parser
import email.policy
import re
import textwrap
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from modelyard.analyze.model_yaml import load_yaml
from modelyard.core.errors import RejectedContent
from modelyard.onboard.material import Material
from modelyard.onboard.report import Finding

_LARGEST = 2 * 1024 * 1024
_LICENCES = (
    ("Apache-2.0", r"Apache License\s+Version 2\.0"),
    ("AGPL-3.0-only", r"GNU AFFERO GENERAL PUBLIC LICENSE\s+Version 3"),
    ("LGPL-3.0-only", r"GNU LESSER GENERAL PUBLIC LICENSE\s+Version 3"),
    ("LGPL-2.1-only", r"GNU LESSER GENERAL PUBLIC LICENSE\s+Version 2\.1"),
    ("GPL-3.0-only", r"GNU GENERAL PUBLIC LICENSE\s+Version 3"),
    ("GPL-2.0-only", r"GNU GENERAL PUBLIC LICENSE\s+Version 2"),
    ("MPL-2.0", r"Mozilla Public License,?\s+(v\.|version)\s*2\.0"),
    ("CC-BY-NC-4.0", r"Attribution-NonCommercial 4\.0 International"),
    ("CC-BY-4.0", r"Attribution 4\.0 International"),
    ("CC0-1.0", r"CC0 1\.0 Universal"),
    ("Unlicense", r"This is free and unencumbered software released into the public domain"),
    ("BSD-3-Clause", r"Redistribution and use in source and binary forms[\s\S]*Neither the name"),
    ("BSD-2-Clause", r"Redistribution and use in source and binary forms"),
    ("ISC", r"Permission to use, copy, modify, and/or distribute this software for any"),
    ("MIT", r"Permission is hereby granted, free of charge, to any person obtaining a copy"),
)
_CLASSIFIERS = {
    "Apache Software License": "Apache-2.0", "MIT License": "MIT", "BSD License": "BSD",
    "GNU General Public License v3 (GPLv3)": "GPL-3.0-only", "GNU General Public License v2 (GPLv2)": "GPL-2.0-only",
    "GNU Affero General Public License v3": "AGPL-3.0-only", "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "ISC License (ISCL)": "ISC", "The Unlicense (Unlicense)": "Unlicense",
}  # fmt: skip

# What a Dockerfile installs to fetch and build: wheels need none of it.
_BUILDS = re.compile(
    r".*-dev|build-essential|gcc.*|g\+\+.*|clang.*|cmake|make|ninja-build|pkg-config|autoconf|automake|git|git-lfs|curl|wget|"
    r"ca-certificates|gnupg2?|software-properties-common|apt-.*|apt|sudo|unzip|zip|bzip2|xz-utils|vim|nano|less|htop|tmux|"
    r"openssh-.*|locales|tzdata|dpkg.*|python3?|python3?[.-].*|python-is-python3|cuda.*|nvidia.*|libcu.*|libnv.*"
)


class Need(NamedTuple):
    """A requirement, and where it was read."""

    line: str
    reason: str


class Prose(NamedTuple):
    """A text for people: its path, and what it says."""

    path: str
    text: str


class Project(NamedTuple):
    """``python``: what it says of the versions of Python that it runs on; ``system_packages``: those of Debian
    that its Dockerfile installs, without what only building needs."""

    name: str
    version: str | None
    summary: str
    licence: Finding | None
    needs: tuple[Need, ...]
    python: str | None
    system_packages: tuple[Need, ...]
    readme: Prose | None
    warnings: tuple[str, ...]


def read_project(material: Material) -> Project:
    """What the files of ``material`` say. What is not there, or cannot be read, is left out."""
    return _Reader(material).read()


class _Reader:
    def __init__(self, material: Material) -> None:
        self._material = material
        self._root = material.folder
        self._warnings: list[str] = []

    def read(self) -> Project:
        metadata, place = self._metadata()
        pyproject = self._toml("pyproject.toml")
        project = cast("dict[str, Any]", pyproject.get("project") or {})
        setup = self._setup()
        config = self._setup_cfg()
        name = metadata.get("name") or project.get("name") or setup.get("name") or config.get("name")
        version = metadata.get("version") or project.get("version") or setup.get("version")
        poetry = ((pyproject.get("tool") or {}).get("poetry") or {}).get("dependencies") or {}
        python = (
            metadata.get("requires-python")
            or project.get("requires-python")
            or setup.get("python_requires")
            or config.get("python_requires")
            or ",".join(map(_constraint, str(poetry.get("python", "")).split(",")))
        )
        summary = metadata.get("summary") or project.get("description") or setup.get("description") or ""
        return Project(
            name=str(name or self._material.name),
            version=str(version) if version else None,
            summary=textwrap.shorten(str(summary), 200, placeholder=" …"),
            licence=self._licence(metadata, place, project, setup),
            needs=tuple(self._needs(metadata, place, pyproject, setup, config)),
            python=str(python) if python else None,
            system_packages=tuple(self._system_packages()),
            readme=self._readme(metadata, place),
            warnings=tuple(self._warnings),
        )

    def _text(self, path: Path) -> str | None:
        try:
            inside = path.resolve().is_relative_to(self._root.resolve())
            if not inside or not path.is_file() or path.stat().st_size > _LARGEST:
                return None
            return path.read_text("utf-8", errors="replace")
        except OSError:
            return None

    def _metadata(self) -> tuple[dict[str, Any], str]:
        """The metadata of a wheel or of a source, with its description, and its path."""
        called = canonicalize_name(self._material.name)
        found = sorted(self._root.glob("*.dist-info/METADATA"))
        own = [
            path for path in found if canonicalize_name(path.parent.name.rpartition("-")[0].removesuffix(".dist-info")) == called
        ]  # fmt: skip
        for path in [*own, *found, self._root / "PKG-INFO"]:
            text = self._text(path)
            if text is None:
                continue
            message = email.parser.Parser(policy=email.policy.compat32).parsestr(text)
            values: dict[str, Any] = {key.lower(): value for key, value in message.items()}
            values["requires-dist"] = message.get_all("Requires-Dist") or []
            values["classifier"] = message.get_all("Classifier") or []
            values["text"] = text  # with its head, so that lines are counted as in the file
            return values, path.relative_to(self._root).as_posix()
        return {}, ""

    def _toml(self, name: str) -> dict[str, Any]:
        text = self._text(self._root / name)
        try:
            return tomllib.loads(text) if text else {}
        except tomllib.TOMLDecodeError as error:
            self._warnings.append(f"{name} is not TOML: {error}")
            return {}

    def _setup_cfg(self) -> dict[str, str]:
        parser = configparser.RawConfigParser()
        try:
            parser.read_string(self._text(self._root / "setup.cfg") or "")
        except configparser.Error:
            return {}
        found = dict(parser.items("metadata")) if parser.has_section("metadata") else {}
        if parser.has_section("options"):
            found |= dict(parser.items("options"))
        return found

    def _setup(self) -> dict[str, Any]:
        """The literal arguments of ``setup()``."""
        text = self._text(self._root / "setup.py")
        if text is None:
            return {}
        try:
            tree = ast.parse(text)
        except (SyntaxError, ValueError, RecursionError):
            return {}
        known: dict[str, Any] = {}
        for statement in tree.body:
            if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
                known[statement.targets[0].id] = _literal(statement.value)
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] == "setup":
                given = {
                    each.arg: known.get(each.value.id) if isinstance(each.value, ast.Name) else _literal(each.value)
                    for each in node.keywords
                    if each.arg
                }  # fmt: skip
                return {key: value for key, value in given.items() if value is not None}
        return {}

    def _needs(
        self,
        metadata: dict[str, Any],
        place: str,
        pyproject: dict[str, Any],
        setup: dict[str, Any],
        config: dict[str, str],
    ) -> Iterator[Need]:
        """From the first place that lists any: each later one is less exact, or only for development."""
        project = pyproject.get("project") or {}
        poetry = ((pyproject.get("tool") or {}).get("poetry") or {}).get("dependencies") or {}
        listed: list[tuple[str, Iterable[str]]] = [
            (place, metadata.get("requires-dist", ())),
            ("pyproject.toml", _texts(project.get("dependencies"))),
            ("pyproject.toml", _poetry(poetry)),
            ("setup.cfg", config.get("install_requires", "").splitlines()),
            ("setup.py", _texts(setup.get("install_requires"))),
            *self._requires_txt(),
            *self._lists(),
            *self._conda(),
            *self._dockerfile(),
        ]
        for path, lines in listed:
            found = [need for line in lines if (need := _need(line, path)) is not None]
            if found:
                yield from found
                return

    def _requires_txt(self) -> Iterator[tuple[str, list[str]]]:
        """What setuptools wrote into a source when it was made: what ``setup.py`` had computed."""
        for path in sorted(
            [*self._root.glob("*.egg-info/requires.txt"), *self._root.glob("*/*.egg-info/requires.txt")]
        ):
            text = self._text(path) or ""
            yield path.relative_to(self._root).as_posix(), re.split(r"^\[", text, maxsplit=1, flags=re.MULTILINE)[0].splitlines()  # fmt: skip

    def _lists(self) -> Iterator[tuple[str, list[str]]]:
        for name in (
            "requirements.txt",
            "requirements/base.txt",
            "requirements/requirements.txt",
            "requirements.in",
        ):
            text = self._text(self._root / name)
            if text is not None:
                yield name, re.sub(r"\\\n", " ", text).splitlines()

    def _conda(self) -> Iterator[tuple[str, list[str]]]:
        for name in ("environment.yml", "environment.yaml", "conda.yaml", "env.yml"):
            text = self._text(self._root / name)
            try:
                value = load_yaml(text, name) if text else None
            except RejectedContent:
                continue
            listed = value.get("dependencies") if isinstance(value, dict) else None
            if isinstance(listed, list):
                yield name, list(_of_conda(cast("list[Any]", listed)))

    def _dockerfile(self) -> Iterator[tuple[str, list[str]]]:
        text = self._text(self._root / "Dockerfile")
        if text is None:
            return
        lines: list[str] = []
        for command in re.findall(r"pip3? install ([^&|;\n]+)", text.replace("\\\n", " ")):
            words = command.split()
            if not any(word in ("-r", "--requirement", "-e", ".") for word in words):
                lines += [word.strip("'\"") for word in words if not word.startswith("-")]
        yield "Dockerfile", lines

    def _system_packages(self) -> Iterator[Need]:
        text = self._text(self._root / "Dockerfile")
        if text is None:
            return
        told, needed, built = re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE), [], []
        for command in re.findall(
            r"\bapt(?:-get)?\s(?:\S+\s)*?install\s([^&|;\n]+)", told.replace("\\\n", " ")
        ):
            for word in command.split():
                name = re.split(r"[=:/]", word.strip("'\""))[0]
                if re.fullmatch(r"[a-z0-9][a-z0-9+.-]+", name) and name not in (*needed, *built):
                    (built if _BUILDS.fullmatch(name) else needed).append(name)
        if built:
            self._warnings.append(
                f"Its Dockerfile installs {', '.join(built[:12])} too; taken for what building needs, and left out."
            )
        yield from (Need(name, "Dockerfile") for name in needed)

    def _licence(
        self, metadata: dict[str, Any], place: str, project: dict[str, Any], setup: dict[str, Any]
    ) -> Finding | None:
        stated = metadata.get("license-expression")
        if stated:
            return Finding(about="licence", value=str(stated), confidence="sure", reason=place)
        files = [
            *sorted(self._root.glob("LICEN[CS]E*")), *sorted(self._root.glob("COPYING*")),
            *sorted(self._root.glob("*.dist-info/LICEN[CS]E*")), *sorted(self._root.glob("*.dist-info/licenses/LICEN[CS]E*")),
        ]  # fmt: skip
        for path in files:
            text = self._text(path) or ""
            for spdx, pattern in _LICENCES:
                if re.search(pattern, text[:20_000], re.IGNORECASE):
                    where = path.relative_to(self._root).as_posix()
                    return Finding(about="licence", value=spdx, confidence="sure", reason=where)
        for classifier in metadata.get("classifier", ()):
            name = str(classifier).rpartition(" :: ")[2]
            if str(classifier).startswith("License ::") and name in _CLASSIFIERS:
                return Finding(about="licence", value=_CLASSIFIERS[name], confidence="likely", reason=place)
        said = project.get("license") or setup.get("license") or metadata.get("license")
        if isinstance(said, dict):
            said = cast("dict[str, Any]", said).get("text")
        if isinstance(said, str) and said.startswith("License ::"):  # a classifier in the wrong place
            said = said.rpartition(" :: ")[2]
            said = _CLASSIFIERS.get(said, said)
        if isinstance(said, str) and said.strip() not in ("", "UNKNOWN") and len(said) < 80:
            where = place or "pyproject.toml or setup.py"
            return Finding(about="licence", value=said.strip(), confidence="likely", reason=where)
        return None

    def _readme(self, metadata: dict[str, Any], place: str) -> Prose | None:
        for path in sorted(self._root.iterdir()):
            if path.is_file() and re.fullmatch(
                r"readme(\.(md|rst|txt|markdown))?", path.name, re.IGNORECASE
            ):
                text = self._text(path)
                if text and text.strip():
                    return Prose(path.name, text)
        text = str(metadata.get("text", ""))
        return Prose(place, text) if text.strip() else None


def _literal(node: ast.expr) -> Any:
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return None


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return value.splitlines()
    return [each for each in cast("Sequence[Any]", value or ()) if isinstance(each, str)]


def _need(line: str, path: str) -> Need | None:
    """None for what is no package of an index: an option, an address, a package of an extra."""
    line = re.sub(r"(^|\s)#.*$", "", line).strip()
    if not line or line.startswith(("-", "[", "git+", "http", ".", "/")):
        return None
    try:
        wanted = Requirement(line)
    except InvalidRequirement:
        return None
    if wanted.url or (wanted.marker is not None and "extra" in str(wanted.marker)):
        return None
    return Need(str(wanted), path)


def _poetry(listed: dict[str, Any]) -> Iterator[str]:
    """Poetry's own form: ``^1.2`` is at least that and below the next major, ``~1.2`` the next minor."""
    for name, value in listed.items():
        if isinstance(value, dict):
            value = cast("dict[str, Any]", value)
            if value.get("optional"):
                continue
            value = value.get("version", "*")
        if name == "python" or not isinstance(value, str):
            continue
        yield name + ",".join(filter(None, map(_constraint, value.split(","))))


def _constraint(text: str) -> str:
    text = text.strip()
    match = re.fullmatch(r"([\^~])(\d+(?:\.\d+)*)", text)
    if match is None:
        return "" if text == "*" else (f"=={text}" if text[:1].isdigit() else text)
    parts = [int(part) for part in match[2].split(".")]
    kept = 1 if match[1] == "^" else min(2, len(parts))
    if match[1] == "^":  # the first part that is not zero
        kept = next((index + 1 for index, part in enumerate(parts) if part), len(parts))
    above = [*parts[: kept - 1], parts[kept - 1] + 1]
    return f">={match[2]},<{'.'.join(map(str, above))}"


def _of_conda(listed: list[Any]) -> Iterator[str]:
    """conda's lines as those of an index, where the names are the same more often than not."""
    for each in listed:
        if isinstance(each, dict):
            yield from _texts(cast("dict[str, Any]", each).get("pip"))
        elif isinstance(each, str):
            name, *version = re.split(r"=+", each.rpartition("::")[2].strip())
            name = {"pytorch": "torch", "pytorch-cpu": "torch"}.get(name.split()[0], name)
            if re.match(
                r"(python|pip|cuda\w*|cudatoolkit|gcc\w*|gxx\w*|setuptools|wheel)([<>=\s]|$)", name
            ):
                continue
            yield f"{name}=={version[0]}" if version and re.fullmatch(r"[\d.]+", version[0]) else name
