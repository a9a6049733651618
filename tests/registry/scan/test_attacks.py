"""The corpus of attacks: none is executed, each is named, none is accepted without trust, none bloats who reads it."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from modelyard.core.errors import RejectedContent
from modelyard.core.manifest import FileEntry, manifest_of
from modelyard.core.scan import verdict_of
from modelyard.registry.scan.safety import Safety
from modelyard.registry.scan.scanner import Answer, Asked, look
from modelyard.registry.versions import NeedsTrust, register
from modelyard.store.blobs import BlobStore
from modelyard.store.database import Database
from modelyard.store.verdicts import Verdicts
from modelyard.store.versions import Versions
from support.attacks import Attack
from support.attacks.archives import archives
from support.attacks.containers import containers
from support.attacks.formats import formats
from support.attacks.lies import lies
from support.attacks.pickles import LOADER, pickles
from support.attacks.viruses import viruses

PEAK = 256 * 2**20  # bytes: the whole scanning process, interpreter and all
CORPORA: dict[str, Callable[[str], list[Attack]]] = {
    "pickles": pickles,
    "containers": containers,
    "formats": lambda _: formats(),
    "archives": lambda _: archives(),
    "viruses": lambda _: viruses(),
}
# Of each, how many there are; docs/reliability.md says the same.
COUNTS = {"pickles": 100, "containers": 97, "formats": 61, "archives": 43, "viruses": 18, "lies": 40}


class Seen(NamedTuple):
    name: str
    reaches: str
    answer: Answer


def scanned(asked: list[tuple[str, str, Asked]]) -> list[Seen]:
    answers = look([each for _, _, each in asked])
    return [Seen(name, reaches, answer) for (name, reaches, _), answer in zip(asked, answers, strict=True)]


def asked(attacks: list[Attack]) -> list[tuple[str, str, Asked]]:
    def of(attack: Attack) -> Asked:
        return Asked(attack.name, len(attack.data), lambda at, length: attack.data[at : at + length])

    return [(attack.name, attack.reaches, of(attack)) for attack in attacks]


def missed(seen: list[Seen], *bad: str) -> list[str]:
    """The attacks whose verdict is not one of ``bad``, or does not say what they reach."""
    return [
        f"{each.name}: {each.answer}"
        for each in seen
        if each.answer.died is not None
        or verdict_of([found.level for found in each.answer.findings]) not in bad
        or not any(each.reaches in f"{found.reaches} {found.what}" for found in each.answer.findings)
    ]


@pytest.mark.parametrize("corpus", CORPORA)
def test_every_attack_is_named_and_none_is_executed(tmp_path: Path, corpus: str) -> None:
    marker = tmp_path / "executed"
    attacks = CORPORA[corpus](str(marker))
    assert len(attacks) == len({attack.name for attack in attacks}) == COUNTS[corpus]
    seen = scanned(asked(attacks))
    accepted = ("malicious",) if corpus == "viruses" else ("malicious", "executes")
    assert missed(seen, *accepted, *(("unreadable",) if corpus == "archives" else ())) == []
    assert max(each.answer.peak for each in seen) < PEAK
    assert not marker.exists()


def test_no_lie_and_no_bomb_bloats_or_ends_the_scan() -> None:
    made = lies()
    assert len(made) == COUNTS["lies"]
    seen = scanned([(lie.name, lie.reaches, Asked(lie.name, lie.size, lie.read)) for lie in made])
    assert missed(seen, "unreadable", "executes", "malicious") == []
    assert max(each.answer.peak for each in seen) < PEAK


def test_the_attacks_are_real(tmp_path: Path) -> None:
    """Loaded as a careless program would, in a process of its own, each writes its marker: the corpus is no straw."""
    marker, folder = tmp_path / "executed", tmp_path / "attacks"
    folder.mkdir()
    made = [attack for attack in (*pickles(str(marker)), *containers(str(marker))) if attack.loads]
    for attack in made:
        (folder / f"{attack.loads}~{attack.name}").write_bytes(attack.data)
    command = [sys.executable, "-W", "ignore", "-c", LOADER, str(marker), str(folder)]
    told = subprocess.run(
        command, capture_output=True, text=True, cwd=tmp_path, check=True
    ).stdout.splitlines()
    told = [line for line in told if line.endswith((" True", " False"))]
    assert [line for line in told if line.endswith("False")] == []
    assert len(told) == len(made) > 100


def test_none_becomes_a_version_without_trust(tmp_path: Path, database: Database, blobs: BlobStore) -> None:
    marker = tmp_path / "executed"
    versions, verdicts = Versions(database), Verdicts(database)
    safety = Safety(blobs, verdicts)
    attacks = [each for name in CORPORA for each in CORPORA[name](str(marker))]
    entries = []
    for index, attack in enumerate(attacks):
        put = blobs.put([attack.data])
        entries.append(FileEntry(path=f"{index}/{attack.name}", size=put.size, sha256=put.sha256))
    safety.look(manifest_of(entries))  # in one process; what follows finds the verdicts
    for entry in entries:
        one = FileEntry(
            path=entry.path.partition("/")[2].rpartition("/")[2], size=entry.size, sha256=entry.sha256
        )
        with pytest.raises(RejectedContent):
            register(blobs, versions, "attack", manifest_of([one]), trusted=False, safety=safety)
    assert versions.models() == []
    assert not marker.exists()


def test_what_reaches_for_the_system_is_refused_though_it_is_trusted(
    tmp_path: Path, database: Database, blobs: BlobStore
) -> None:
    attack = pickles(str(tmp_path / "executed"))[0]
    put = blobs.put([attack.data])
    manifest = manifest_of([FileEntry(path="model.pkl", size=put.size, sha256=put.sha256)])
    with pytest.raises(RejectedContent, match="trusted or not") as caught:
        register(blobs, Versions(database), "attack", manifest, trusted=True)
    assert not isinstance(caught.value, NeedsTrust)
    assert "posix.system" in caught.value.message and caught.value.field == "model.pkl"


def test_the_documentation_has_these_counts() -> None:
    page = (Path(__file__).parents[3] / "docs" / "reliability.md").read_text()
    loaded = [each for each in (*pickles("marker"), *containers("marker")) if each.loads]
    assert f"{len(loaded)} of the pickles and containers" in page
    for corpus, count in COUNTS.items():
        assert f"| {corpus} | {count} | 0 | 0 |" in page, corpus
