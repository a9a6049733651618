"""How long does it take to find something among 100,000 versions?

A registry of 20,000 models with 1 to 9 versions each, in SQLite and in PostgreSQL (each as it is set by default: durable).
47 kinds of searches, each with other values every time: the first page and the one behind it, 50 versions each with their
aliases, marks and endpoints. Three ways: as a client asks a real control plane (`GET /versions`, the whole of it), the
search alone (`Listings.search`), and the same beside a writer that adds versions and moves aliases without a pause. Then
what a person waits for who types `modelyard models list` and `search`, what the first requests after a start take with
nothing of the database in memory, and whether a list of everything, page by page beside a writer, has each version once.
"""

import contextlib
import hashlib
import http.client
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from bench.cores import on
from bench.models.registry import fill, searches
from bench.peers.peer import Running, supervised, wait_until_right
from bench.plan import Plan
from bench.results import Table, Verdict, at_most
from bench.statistics import median, quantile
from modelyard.core.listing import Wanted
from modelyard.core.manifest import FileEntry, Manifest
from modelyard.core.model import Analysis
from modelyard.core.settings import Home
from modelyard.store.aliases import Aliases
from modelyard.store.database import Database
from modelyard.store.listings import Listings
from modelyard.store.versions import Versions

ONCE = True
VERSIONS = 100_000
SETTINGS = ("SQLite", "PostgreSQL")
_LIST = 200  # versions of a page, where everything is listed
Asked = list[tuple[str, Wanted]]


def seconds(plan: Plan) -> float:
    return 90 if plan.quick else 900


def measure(plan: Plan) -> dict[str, Any]:
    versions = 5_000 if plan.quick else VERSIONS
    with tempfile.TemporaryDirectory() as folder:
        found = {name: _measured(Path(folder) / name, name, versions, plan) for name in SETTINGS}
    return {"versions": versions, "found": found}


def _measured(folder: Path, setting: str, versions: int, plan: Plan) -> dict[str, Any]:
    home = Home(folder)
    home.root.mkdir(mode=0o700)
    with contextlib.ExitStack() as stack:
        server, place = None, None
        if setting != SETTINGS[0]:
            from support.postgres import PostgresServer

            server = stack.enter_context(PostgresServer(durable=True))
            place = server.create()
        database = Database(place or home.database)
        stack.callback(database.close)
        database.migrate()
        started = time.perf_counter()
        words = fill(database, versions)
        result: dict[str, Any] = {"filled": time.perf_counter() - started}
        result["bytes"] = _bytes(database, home.database)
        files = folder if server is None else server.folder
        # Also SQLite's: who opens and closes its files gives up the locks that this process has on them, and the next
        # program to open the database would believe to be the only one.
        database.close()
        if server is not None:
            server.stop()
        _forget(files)
        if server is not None:
            server.start()
        database = Database(place or home.database)
        stack.callback(database.close)
        asked = [*searches(random.Random(1), words, plan.count(20, 3))]
        with _control_plane(home, place) as (url, environment):
            key = home.key.read_text().strip()
            client = _Client(url, key)
            result["cold"] = _cold(client, asked)
            result["requests"] = _ask(asked, lambda wanted, cursor: client.search(wanted, 50, cursor))
            result["command"] = _commands(environment, words, plan.count(20, 3))
            result["alone"] = _ask(asked, _of(database))
            with _writer(database) as written:
                result["beside"] = _ask(asked, _of(database))
                result["walk"] = _walk(_Client(url, key))  # the first one was idle for too long
                result["written"] = written()
    return result


# --- what is measured


def _ask(asked: Asked, search: Callable[[Wanted, str | None], str | None]) -> dict[str, Any]:
    """Milliseconds of each search's first page and of the one behind it, in all and by kind."""
    search(Wanted(), None)
    taken: dict[str, list[float]] = {}
    for kind, wanted in asked:
        cursor: str | None = None
        for _ in range(2):
            started = time.perf_counter()
            cursor = search(wanted, cursor)
            taken.setdefault(kind, []).append(1e3 * (time.perf_counter() - started))
            if cursor is None:
                break
    every = [value for values in taken.values() for value in values]
    return {
        "count": len(every),
        **_summary(every),
        "kinds": {kind: _summary(values) for kind, values in taken.items()},
    }


def _summary(values: list[float]) -> dict[str, float]:
    return {
        "p50": median(values),
        "p95": quantile(values, 0.95),
        "p99": quantile(values, 0.99),
        "longest": max(values),
    }


def _of(database: Database) -> Callable[[Wanted, str | None], str | None]:
    listings = Listings(database)
    return lambda wanted, cursor: listings.search(wanted, 50, cursor).next


def _cold(client: "_Client", asked: Asked) -> dict[str, float]:
    """Milliseconds of the first requests of a control plane that has just started, in this order."""
    by_words = next(wanted for kind, wanted in asked if kind == "a frequent word")
    requests = {
        "the newest": lambda: client.search(Wanted(), 50, None),
        "by a frequent word": lambda: client.search(by_words, 50, None),
        "the page of models, with its facets": lambda: client.get("/models"),
    }
    taken: dict[str, float] = {}
    for name, request in requests.items():
        started = time.perf_counter()
        request()
        taken[name] = 1e3 * (time.perf_counter() - started)
    return taken


def _commands(environment: dict[str, str], words: list[str], times: int) -> dict[str, dict[str, float]]:
    """Milliseconds of whole commands, each a process of its own; beside them an empty Python."""
    modelyard = str(Path(sys.executable).with_name("modelyard"))
    chance = random.Random(4)
    commands: dict[str, Callable[[], list[str]]] = {
        "modelyard models list": lambda: [modelyard, "models", "list"],
        "modelyard models search WORD": lambda: [modelyard, "models", "search", chance.choice(words[:500])],
        "modelyard models search --json": lambda: [modelyard, "models", "search", "--json", "--category", "docking"],
        "python -c pass": lambda: [sys.executable, "-c", "pass"],
    }  # fmt: skip
    taken: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(times):
        for name, command in commands.items():
            started = time.perf_counter()
            subprocess.run(on(None, command()), env=environment, capture_output=True, check=True)
            taken[name].append(1e3 * (time.perf_counter() - started))
    return {name: _summary(values) for name, values in taken.items()}


def _walk(client: "_Client") -> dict[str, float]:
    """List everything that was there before, page by page: which versions came twice, and which never."""
    before = {f"{name}/{number}" for name, number in client.everything("name")}
    started = time.perf_counter()
    seen = [f"{name}/{number}" for name, number in client.everything("size")]
    return {
        "seconds": time.perf_counter() - started,
        "listed": len(seen),
        "twice": len(seen) - len({*seen}),
        "missed": len(before - {*seen}),
    }


# --- what it is measured with


class _Client:
    """A connection to a control plane that stays open."""

    def __init__(self, url: str, key: str) -> None:
        parts = urlsplit(url)
        self._connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=120)
        self._headers = {"authorization": f"Bearer {key}"}

    def get(self, path: str) -> bytes:
        """The body of a 200. Raises RuntimeError for another answer."""
        self._connection.request("GET", path, headers=self._headers)
        answer = self._connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{path}: {answer.status} {body[:300]!r}")
        return body

    def _page(self, wanted: Wanted, limit: int, cursor: str | None) -> Any:
        asked = {
            name: getattr(wanted, name)
            for name in wanted.__struct_fields__
            if name not in ("tags", "metrics")
        }
        given = [(name, str(value)) for name, value in asked.items() if value is not None]
        given += [("tag", tag) for tag in wanted.tags] + [("limit", str(limit))]
        given += [("metric", bound) for bound in wanted.metrics]
        if cursor is not None:
            given.append(("cursor", cursor))
        return json.loads(self.get(f"/api/v1/versions?{urlencode(given)}"))

    def search(self, wanted: Wanted, limit: int, cursor: str | None) -> str | None:
        """One page, read whole; the cursor of the next."""
        return self._page(wanted, limit, cursor)["next"]

    def everything(self, sort: str) -> Iterator[tuple[str, int]]:
        """Names and numbers of all versions, page by page."""
        cursor: str | None = None
        while True:
            page = self._page(Wanted(all_versions=True, sort=sort), _LIST, cursor)  # type: ignore[arg-type]
            for each in page["versions"]:
                yield each["model"], each["number"]
            cursor = page["next"]
            if cursor is None:
                return


@contextlib.contextmanager
def _control_plane(home: Home, database: str | None) -> Iterator[tuple[str, dict[str, str]]]:
    """A real one; its address, and the variables that a command line finds it with."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("MODELYARD_")},
        "MODELYARD_HOME": str(home.root),
        "MODELYARD_CONTROL_PORT": "0",
        **({} if database is None else {"MODELYARD_DATABASE": database}),
    }
    log = home.root / "bench.log"
    address = home.address("control")

    def answers(_: Running) -> bool:
        parts = urlsplit(address.read_text().strip())
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=5)
        connection.request("GET", "/ready")
        return connection.getresponse().status == 200

    with supervised(on(None, [sys.executable, "-m", "modelyard.web"]), environment, log) as process:
        wait_until_right("the control plane", Running("", None, process.pid), answers, process, log)
        yield address.read_text().strip(), environment


@contextlib.contextmanager
def _writer(database: Database) -> Iterator[Callable[[], float]]:
    """A thread that adds versions and moves aliases; what it gives says how many writes a second that was so far."""
    versions, aliases = Versions(database), Aliases(database)
    stop = threading.Event()
    written = 0
    started = time.perf_counter()

    def write() -> None:
        nonlocal written
        analysis = Analysis(format="onnx", adapter="onnx", parameters=5)
        while not stop.is_set():
            digest = hashlib.sha256(str(written).encode()).hexdigest()
            manifest = Manifest(files=(FileEntry(path="m.onnx", size=written, sha256=digest),))
            made, _ = versions.add(f"written-{written % 50}", manifest, analysis, False)
            aliases.move(made.model, "production", made.number, who="bench")
            written += 2
            time.sleep(0.001)

    with ThreadPoolExecutor(1) as threads:
        writer = threads.submit(write)
        try:
            yield lambda: written / (time.perf_counter() - started)
        finally:
            stop.set()
        writer.result()


def _bytes(database: Database, file: Path) -> int:
    if not database.is_shared:
        return file.stat().st_size
    with database.session() as session:
        return session.exec_driver_sql("SELECT pg_database_size(current_database())").scalar_one()


def _forget(folder: Path) -> None:
    """Have the machine keep nothing of these files in memory, as after a start."""
    os.sync()
    for path in folder.rglob("*"):
        if path.is_file():
            descriptor = os.open(path, os.O_RDONLY)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)


# --- what is told


def tables(result: dict[str, Any]) -> list[Table]:
    rows: list[tuple[str, ...]] = []
    for setting, told in result["found"].items():
        ways = (
            ("as a client asks", told["requests"]),
            ("the search alone", told["alone"]),
            (f"the search beside {told['written']:,.0f} writes a second", told["beside"]),
        )
        for way, taken in ways:
            numbers = (f"{taken[each]:,.1f}" for each in ("p50", "p95", "p99", "longest"))
            rows.append((f"{setting}: {way}", f"{taken['count']:,}", *numbers))
    found = result["found"]
    kinds = sorted(
        found[SETTINGS[0]]["requests"]["kinds"],
        key=lambda kind: -max(told["requests"]["kinds"][kind]["p95"] for told in found.values()),
    )
    by_kind = [
        (
            kind,
            *(
                f"{told['requests']['kinds'][kind][each]:.1f}"
                for told in found.values()
                for each in ("p50", "p95")
            ),
        )
        for kind in kinds
    ]
    waits = [
        *(
            (f"`{name}`, p50", *(f"{told['command'][name]['p50']:,.0f} ms" for told in found.values()))
            for name in found[SETTINGS[0]]["command"]
        ),
        *(
            (f"first after a start: {name}", *(f"{told['cold'][name]:,.0f} ms" for told in found.values()))
            for name in found[SETTINGS[0]]["cold"]
        ),
        (
            f"all versions, {_LIST} a page, beside the writer",
            *(f"{told['walk']['seconds']:,.1f} s" for told in found.values()),
        ),
        (
            "· listed · twice · missed",
            *(
                " · ".join(f"{told['walk'][each]:,}" for each in ("listed", "twice", "missed"))
                for told in found.values()
            ),
        ),
    ]
    sizes = ", ".join(f"{told['bytes'] / 1e6:,.0f} MB of {setting}" for setting, told in found.items())
    heads = [f"{setting}, {each}" for setting in found for each in ("p50, ms", "p95, ms")]
    return [
        Table(
            f"{result['versions']:,} versions, {sizes}",
            ("", "pages", "p50, ms", "p95, ms", "p99, ms", "longest, ms"),
            rows,
        ),
        Table("What a person waits for", ("", *found), waits),
        Table("By kind, as a client asks", ("", *heads), by_kind),
    ]


def verdicts(result: dict[str, Any]) -> list[Verdict]:
    made: list[Verdict] = []
    for setting, told in result["found"].items():
        goal = f"a page of 50 among 100,000 versions ≤ 50 ms p95, {setting}"
        made += [
            at_most(f"{goal}, as a client asks", told["requests"]["p95"], 50, " ms", 1),
            at_most("the search beside a writer", told["beside"]["p95"], 50, " ms", 1),
            at_most(
                "versions listed twice or missed", told["walk"]["twice"] + told["walk"]["missed"], 0, "", 0
            ),
        ]
    return made
