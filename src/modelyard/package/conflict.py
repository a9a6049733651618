"""Two requirements that are at odds, in a sentence: which they are and who asks for them.

uv proves that there is no solution ("Because a==1 depends on b<2 and you require b>=2, we can conclude …"; the
form of PubGrub, https://nex3.medium.com/pubgrub-2fb6470504f). The steps of that proof are read here, as far as
they are understood; what they leave open is left to uv's own words.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

_SPECIFIER = r"(?:[<>=!~]=?=?[^\s,()]+(?:,[<>=!~]=?=?[^\s,()]+)*)"
_NAME = r"[A-Za-z0-9][\w.-]*(?:\[[^\]]*\])?"
_PACKAGE = rf"{_NAME}{_SPECIFIER}?"
_DEPENDS = re.compile(
    rf"(?P<who>{_PACKAGE}) depends? on (?:(?:one|all) of: (?P<list>{_NAME}{_SPECIFIER}(?: {_NAME}{_SPECIFIER})*)|(?P<what>{_PACKAGE}))"
)
_PYTHON = re.compile(rf"(?P<who>{_PACKAGE}) (?:depends on|requires) Python ?(?P<what>{_SPECIFIER})")
_NO_WHEEL = re.compile(rf"(?:all versions of )?(?P<who>{_PACKAGE}) ha(?:s|ve) no (?:usable )?wheels")

_ORDINARY = re.compile(r"[0-9]+(\.[0-9]+)*((a|b|rc|\.post|\.dev)[0-9]+)*(\+[\w.]+)?")


class _Need(msgspec.Struct, frozen=True):
    """``package`` is to be one of ``versions`` (each a set of its own), because ``because`` says so."""

    package: str
    versions: tuple[str, ...]
    because: str


def explain(reason: str, asked: Mapping[str, str], interpreter: str, python: Sequence[str]) -> str | None:
    """A sentence on why ``asked`` (requirements, and who asks for each) has no solution for ``reason`` (uv's, in
    one line; empty: nobody was asked yet) with ``interpreter``, which was chosen by ``python``; None when that
    does not tell."""
    lines = {str(each): who for line, who in asked.items() if (each := _requirement(line)) is not None}
    bonds = list(_bonds(reason))
    needs = [*_asked(lines), *_between(bonds, lines)]
    for index, one in enumerate(needs):
        for other in needs[index + 1 :]:
            if one.package == other.package and _exclude(one, other):
                left_out = (
                    f" (of the versions with a wheel for {interpreter})" if "wheels" in reason else ""
                )
                return (
                    f"The requirements cannot be met together: {one.because}, and {other.because}{left_out}. "
                    "Loosen or correct one of them."
                )
    return _of_python(reason, lines, bonds, interpreter, python) or _of_wheels(
        reason, lines, bonds, interpreter
    )


def _asked(lines: Mapping[str, str]) -> Iterator[_Need]:
    for line, who in lines.items():
        wanted = Requirement(line)
        if wanted.specifier and wanted.marker is None:  # a marker may leave it out
            told = f"{who} asks for {_told(wanted)}"
            yield _Need(canonicalize_name(wanted.name), (str(wanted.specifier),), told)


def _between(bonds: Sequence[tuple[str, tuple[str, ...]]], lines: Mapping[str, str]) -> Iterator[_Need]:
    """What packages ask of others: the last that the proof says of each pair, which holds for most versions."""
    last: dict[tuple[str, str], _Need] = {}
    for who, whats in bonds:
        wanted = [each for what in whats if (each := _requirement(what)) is not None]
        if not wanted or not all(each.specifier for each in wanted):
            continue
        package = canonicalize_name(wanted[0].name)
        told = f"{_introduced(who, lines, bonds)} needs {' or '.join(map(_told, wanted))}"
        last[_name(who), package] = _Need(package, tuple(str(each.specifier) for each in wanted), told)
    yield from reversed(last.values())


def _introduced(who: str, lines: Mapping[str, str], bonds: Iterable[tuple[str, tuple[str, ...]]]) -> str:
    """A package, and how it comes in: by a line that somebody asks for, or by another package."""
    name = _name(who)
    for line, asker in lines.items():
        if _name(line) == name:
            return f"{_told(Requirement(line))}, which {asker} asks for,"
    for other, whats in bonds:
        if name in {_name(what) for what in whats} and _name(other) != name:
            for line, asker in lines.items():
                if _name(line) == _name(other):
                    return f"{who}, which comes with the {_told(Requirement(line))} that {asker} asks for,"
            return f"{who}, which {_name(other)} needs,"
    return who


def _of_python(
    reason: str, lines: Mapping[str, str], bonds: Sequence[tuple[str, tuple[str, ...]]], interpreter: str, python: Sequence[str]
) -> str | None:  # fmt: skip
    told = list(_PYTHON.finditer(reason))
    if not told or "does not satisfy Python" not in reason:
        return None
    who, what = told[-1]["who"], told[-1]["what"].rstrip(".,")
    chosen = f", because it is to be {' and '.join(python)}" if python else ""
    return (
        f"{_introduced(who, lines, bonds)} needs Python {what}, and its environment has {interpreter}{chosen}. "
        + (f"Ask for another Python, or for a version of {_name(who)} that runs on this one." if python
           else f"Say that the model needs it (python: '{what}' in its model.yaml, or --python), or ask for another version.")
    )  # fmt: skip


def _of_wheels(
    reason: str, lines: Mapping[str, str], bonds: Sequence[tuple[str, tuple[str, ...]]], interpreter: str
) -> str | None:
    named = {_name(line) for line in lines} | {_name(what) for _, whats in bonds for what in whats}
    for found in _NO_WHEEL.finditer(reason):
        if _name(found["who"]) in named:
            return (
                f"{_introduced(found['who'], lines, bonds)} has no wheel for {interpreter} on this machine, and "
                "environments are built from wheels only. Ask for a version that has one, or for another Python "
                "(python in its model.yaml, or --python)."
            )
    return None


def _bonds(reason: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Who depends on what (alternatives of one package), in the order of the proof."""
    for found in _DEPENDS.finditer(" ".join(reason.split())):
        whats = tuple(each.rstrip(".,") for each in (found["list"] or found["what"]).split(" "))
        if len({_name(each) for each in whats} | {"python"}) == 2:
            yield found["who"], whats


def _exclude(one: _Need, other: _Need) -> bool:
    return not any(_overlap(SpecifierSet(a), SpecifierSet(b)) for a in one.versions for b in other.versions)


def _overlap(one: SpecifierSet, other: SpecifierSet) -> bool:
    """Whether a version may be in both: if so, then an end of one of their intervals, or the one just above it.
    What is not understood (an epoch) counts as yes."""
    ends = {"0", *(each.version.removesuffix(".*") for each in (*one, *other))}
    both = one & other
    return any(
        _ORDINARY.fullmatch(end) is None
        or both.contains(end, prereleases=True)
        or both.contains(_just_above(end), prereleases=True)
        for end in ends
    )


def _just_above(version: str) -> str:
    public = version.partition("+")[0]
    head, last = re.fullmatch(r"(.*?)(\d+)", public).groups()  # pyright: ignore[reportOptionalMemberAccess]
    return f"{head}{int(last) + 1}" if re.search("[a-z]", public) else f"{public}.0.0.1"


def _requirement(text: str) -> Requirement | None:
    try:
        return Requirement(text.rstrip(".,"))
    except InvalidRequirement:
        return None


def _told(requirement: Requirement) -> str:
    """As people write it: the lower bound first."""
    versions = sorted(requirement.specifier, key=lambda each: (each.operator[0] == "<", str(each)))
    extras = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
    return requirement.name + extras + ",".join(map(str, versions))


def _name(text: str) -> str:
    return canonicalize_name(re.split(r"[\[<>=!~;,\s]", text.strip(), maxsplit=1)[0].rstrip("."))
