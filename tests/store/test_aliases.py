"""Aliases: moved by one at a time, and every move is remembered."""

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from modelyard.core.errors import Conflict, InvalidInput, ModelyardError, NotFound
from modelyard.store.audit import Audit
from modelyard.store.database import Database
from support.failures import MOVERS
from support.registry import Clock, Registry


@pytest.fixture
def three(registry: Registry) -> Registry:
    for _ in range(3):
        registry.add("fraud")
    return registry


def test_an_alias_names_a_version(three: Registry) -> None:
    three.aliases.move("fraud", "production", 2, who="ada", why="it is better")
    assert three.versions.find("fraud", "production").number == 2
    assert three.versions.get("fraud", 2).aliases == ("production",)
    assert three.aliases.list("fraud") == {"production": 2}


def test_an_alias_can_follow_another_or_the_latest(three: Registry) -> None:
    three.aliases.move("fraud", "staging", None, who="ada")
    three.aliases.move("fraud", "production", "staging", who="ada")
    assert three.aliases.list("fraud") == {"production": 3, "staging": 3}
    assert three.versions.get("fraud", 3).aliases == ("production", "staging")


def test_every_move_is_remembered(three: Registry, clock: Clock) -> None:
    for number, who, why in ((1, "ada", "first"), (3, "bob", "newer"), (1, "ada", "3 was worse")):
        clock.now += 100
        three.aliases.move("fraud", "production", number, who=who, why=why)
    clock.now += 100
    three.aliases.remove("fraud", "production", who="eve", why="no more")
    told = [(m.version, m.former, m.who, m.why) for m in three.aliases.history("fraud", "production")]
    assert told == [
        (1, None, "ada", "first"),
        (3, 1, "bob", "newer"),
        (1, 3, "ada", "3 was worse"),
        (None, 1, "eve", "no more"),
    ]


@pytest.mark.parametrize(
    ("moment", "version"), [(1099, None), (1100, 1), (1199, 1), (1200, 3), (1250, 3), (1300, None)]
)
def test_it_is_known_where_it_was_at_any_moment(
    three: Registry, clock: Clock, moment: float, version: int | None
) -> None:
    for number in (1, 3):
        clock.now += 100
        three.aliases.move("fraud", "production", number, who="ada")
    clock.now += 100
    three.aliases.remove("fraud", "production", who="ada")
    held = three.aliases.history("fraud", "production", since=moment, until=moment)
    assert [move.version for move in held] == ([] if version is None else [version])


def test_a_day_has_what_held_at_its_begin_and_the_moves_within(three: Registry, clock: Clock) -> None:
    for number in (1, 2, 3):
        clock.now += 100
        three.aliases.move("fraud", "production", number, who="ada")
    day = three.aliases.history("fraud", since=1150, until=1250)
    assert [move.version for move in day] == [1, 2]


def test_pointing_where_it_points_is_no_move(three: Registry) -> None:
    assert three.aliases.move("fraud", "production", 1, who="ada") is not None
    assert three.aliases.move("fraud", "production", 1, who="bob") is None
    assert len(three.aliases.history("fraud")) == 1


def test_what_is_not_as_expected_is_told_with_who_moved_it(three: Registry) -> None:
    three.aliases.move("fraud", "production", 2, who="ada", why="faster", expected=0)
    with pytest.raises(Conflict, match=r"at version 2 now \(moved by ada: faster\), and version 1"):
        three.aliases.move("fraud", "production", 3, who="bob", expected=1)
    with pytest.raises(Conflict, match="none yet"):
        three.aliases.move("fraud", "production", 3, who="bob", expected=0)
    with pytest.raises(Conflict, match="not there"):
        three.aliases.move("fraud", "staging", 3, who="bob", expected=1)
    three.aliases.move("fraud", "production", 3, who="bob", expected=2)
    assert three.aliases.list("fraud") == {"production": 3}


def test_of_many_movers_at_once_exactly_one_wins(three: Registry) -> None:
    three.aliases.move("fraud", "production", 1, who="ada")
    outcomes: list[str] = []
    ready = threading.Barrier(MOVERS)

    def move(number: int) -> None:
        ready.wait()
        try:
            three.aliases.move("fraud", "production", 2 + number % 2, who=f"mover {number}", expected=1)
            outcomes.append("won")
        except ModelyardError as error:
            outcomes.append(error.code)

    threads = [threading.Thread(target=move, args=(number,)) for number in range(MOVERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["conflict"] * (MOVERS - 1) + ["won"]
    assert len(three.aliases.history("fraud")) == 2


MOVE = """
import sys
from pathlib import Path
from modelyard.core.errors import Conflict
from modelyard.store.aliases import Aliases
from modelyard.store.database import Database
aliases = Aliases(Database(sys.argv[1] if "://" in sys.argv[1] else Path(sys.argv[1])))
sys.stdin.readline()
try:
    aliases.move("fraud", "production", int(sys.argv[2]), who=sys.argv[2], expected=0)
except Conflict as error:
    print(error.message)
    sys.exit(3)
"""


def test_of_two_processes_that_make_an_alias_one_is_told(three: Registry, place: Path | str) -> None:
    movers = [
        subprocess.Popen(
            [sys.executable, "-c", MOVE, str(place), number],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in ("1", "2")
    ]
    for mover in movers:
        assert mover.stdin is not None
        mover.stdin.write("go\n")
        mover.stdin.flush()
    told = [mover.communicate()[0] for mover in movers]
    assert sorted(mover.returncode for mover in movers) == [0, 3]
    (now,) = three.aliases.list("fraud").values()
    assert f"at version {now} now (moved by {now})" in "".join(told)


@pytest.mark.parametrize("name", ["3", "latest", "No Name", "", "a" * 64])
def test_a_name_that_means_something_else_is_refused(three: Registry, name: str) -> None:
    with pytest.raises(InvalidInput):
        three.aliases.move("fraud", name, 1, who="ada")


def test_what_is_not_there_is_not_found(three: Registry) -> None:
    three.aliases.move("fraud", "staging", 1, who="ada")
    with pytest.raises(NotFound, match="it has staging"):
        three.versions.find("fraud", "production")
    for call in (
        lambda: three.aliases.move("fraud", "production", 9, who="ada"),
        lambda: three.aliases.move("nothing", "production", 1, who="ada"),
        lambda: three.aliases.remove("fraud", "production", who="ada"),
        lambda: three.aliases.history("nothing"),
        lambda: three.aliases.history("fraud", "production"),
        lambda: three.aliases.list("nothing"),
    ):
        with pytest.raises(NotFound):
            call()


def test_the_history_outlives_the_model(three: Registry) -> None:
    three.aliases.move("fraud", "production", 1, who="ada")
    three.versions.delete_model("fraud", who="bob")
    assert [(m.version, m.who) for m in three.aliases.history("fraud")] == [(1, "ada"), (None, "bob")]


def test_a_model_that_took_the_name_of_one_that_is_gone_has_its_own_history(
    registry: Registry, clock: Clock
) -> None:
    """``former=False``: what people see of a model is not what another one of its name was."""
    registry.add("fraud")
    registry.aliases.move("fraud", "production", 1, who="ada", why="theirs")
    clock.now += 100
    registry.versions.delete_model("fraud", who="bob")
    assert registry.aliases.history("fraud", former=False) == []
    clock.now += 100
    registry.add("fraud")
    registry.aliases.move("fraud", "production", 1, who="eve", why="ours")
    own = registry.aliases.history("fraud", former=False)
    assert [(move.who, move.why) for move in own] == [("eve", "ours")]
    both = registry.aliases.history("fraud", "production")
    assert [move.who for move in both] == ["ada", "bob", "eve"]
    then = registry.aliases.history("fraud", since=clock.now - 150, until=clock.now - 150, former=False)
    assert then == []


def test_moves_are_audited(three: Registry, database: Database) -> None:
    three.aliases.move("fraud", "production", 1, who="ada", why="first")
    entry = Audit(database).list(1)[0]
    assert (entry.who, entry.what, entry.subject) == ("ada", "alias.move", "fraud@production")
    assert entry.why == "version 1: first"
