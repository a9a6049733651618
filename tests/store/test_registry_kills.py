"""kill -9 between any two writes: what is there afterwards is whole."""

import random
import subprocess
import sys
import time
from pathlib import Path

from sqlalchemy import select

from modelyard.core.listing import Wanted
from modelyard.store import tables
from modelyard.store.database import Database
from support.failures import REGISTRY_KILLS
from support.registry import Clock, Registry

WRITE = """
import random, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from modelyard.core.card import Card
from modelyard.core.errors import ModelyardError
from modelyard.store.database import Database
from support.registry import Registry
import time
registry = Registry(Database(sys.argv[1] if "://" in sys.argv[1] else Path(sys.argv[1])), time.time)
chance = random.Random(int(sys.argv[3]))
registry.add("m", of=str(chance.random()))  # the one before may have deleted all others
registry.aliases.move("m", "production", None, who="w", why="w")
print("begun", flush=True)
while True:
    model, number = chance.choice("mn"), chance.randint(1, 6)
    what = chance.randrange(8)
    try:
        if what == 0:
            registry.add(model, of=str(chance.random()), card=Card(tags=("a", "b")), readme="words")
        elif what <= 2:
            registry.aliases.move(model, chance.choice(["production", "staging"]), number, who="w", why="w")
        elif what == 3:
            registry.cards.change(model, {"summary": str(chance.random()), "tags": [chance.choice("xyz")]}, who="w")
        elif what == 4:
            registry.lineage.set((model, number), (chance.choice("mn"), chance.randint(1, 6)), "variant", who="w")
        elif what == 5:
            registry.retirement.delete(model, number, grace=0, who="w")
        elif what == 6:
            registry.retirement.restore(model, number, who="w")
        else:
            registry.retirement.collect(time.time())
    except ModelyardError:
        pass
"""


def test_a_writer_that_is_killed_leaves_whole_states(database: Database, place: Path | str) -> None:
    registry = Registry(database, Clock())
    for model in "mn":
        registry.add(model)
    chance = random.Random(7)
    moves = 0
    for life in range(REGISTRY_KILLS):
        command = [sys.executable, "-c", WRITE, str(place), "tests", str(life)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            try:
                assert writer.stdout is not None
                assert writer.stdout.readline() == "begun\n"
                time.sleep(0.05 + chance.random() * 0.3)
            finally:
                writer.kill()
        check(registry)
        later = len([move for model in "mn" for move in registry.aliases.history(model)])
        assert later >= moves  # no row of the history is ever lost
        moves = later
    assert moves > 0


def check(registry: Registry) -> None:
    with registry.database.session() as session:
        if not registry.database.is_shared:  # a server checks the same with every row
            assert session.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"
            assert session.exec_driver_sql("PRAGMA foreign_key_check").all() == []
        listed = session.execute(select(tables.listings).order_by(tables.listings.c.version_id)).all()
        last = {row.name: row.last for row in session.execute(select(tables.models))}
    for model in "mn":
        versions = registry.versions.of(model)
        assert all(version.number <= last[model] for version in versions)
        history = registry.aliases.history(model)
        pointed = {move.alias: move.version for move in history if move.version is not None}
        assert registry.aliases.list(model) == pointed
        for alias in ("production", "staging"):
            chain = [(move.former, move.version) for move in history if move.alias == alias]
            formers = [None, *(version for _, version in chain)]
            assert [former for former, _ in chain] == formers[:-1]
    registry.listings.rebuild()
    with registry.database.session() as session:
        again = session.execute(select(tables.listings).order_by(tables.listings.c.version_id)).all()
    assert again == listed
    found = registry.listings.search(Wanted(all_versions=True), 200)
    assert all(each.deleted is None for each in found.versions)
