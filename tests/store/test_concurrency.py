"""Several control planes write at once, each with its own connections: what one may do once is done once."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import select

from modelyard.core.deployment import DeploymentSettings
from modelyard.core.errors import Conflict, NotFound
from modelyard.core.manifest import FileEntry, Manifest, manifest_of
from modelyard.core.model import Analysis
from modelyard.store import tables
from modelyard.store.audit import Audit
from modelyard.store.database import Database
from modelyard.store.endpoints import Endpoints
from modelyard.store.homes import Homes
from modelyard.store.jobs import Jobs
from modelyard.store.owner import claim_of
from modelyard.store.versions import Versions

ANALYSIS = Analysis(format="onnx", adapter="onnx")
ONE, TWO = DeploymentSettings(), DeploymentSettings(replicas=2)
Planes = list[Database]


def manifest(number: int) -> Manifest:
    return manifest_of([FileEntry(path="a", size=number, sha256=f"{number:064x}")])


@pytest.fixture
def planes(database: Database, place: Path | str) -> Iterator[Planes]:
    """Four control planes' databases, which are one."""
    made = [database, *(Database(place) for _ in range(3))]
    yield made
    for each in made[1:]:
        each.close()


def at_once(planes: Planes, work: Callable[[Database, int], object], times: int = 1) -> list[object]:
    """``work(database, number)`` on each, all begun together, ``times`` each; what it answered or raised."""
    barrier = threading.Barrier(len(planes))

    def one(number: int) -> list[object]:
        barrier.wait(60)
        answers: list[object] = []
        for turn in range(times):
            try:
                answers.append(work(planes[number], number * times + turn))
            except (Conflict, NotFound) as error:
                answers.append(error)
        return answers

    with ThreadPoolExecutor(len(planes)) as pool:
        return [answer for answers in pool.map(one, range(len(planes))) for answer in answers]


def test_versions_are_numbered_without_a_gap_and_none_twice(planes: Planes) -> None:
    at_once(planes, lambda each, n: Versions(each).add("m", manifest(n), ANALYSIS, False), times=10)
    assert Versions(planes[0]).model("m").versions == tuple(range(1, 41))


def test_the_same_bytes_from_all_are_one_version(planes: Planes) -> None:
    told = at_once(planes, lambda each, _: Versions(each).add("m", manifest(1), ANALYSIS, False), times=5)
    assert Counter(new for _, new in told) == {True: 1, False: 19}  # pyright: ignore
    assert Versions(planes[0]).model("m").versions == (1,)


def test_a_model_that_is_deleted_is_not_deployed_at_the_same_moment(planes: Planes) -> None:
    for turn in range(6):
        Versions(planes[0]).add(f"m{turn}", manifest(1), ANALYSIS, False)

        def work(each: Database, number: int, turn: int = turn) -> object:
            if number % 2:
                return Endpoints(each).deploy(f"e{turn}-{number}", f"m{turn}", 1, ONE, None)
            return Versions(each).delete_model(f"m{turn}")

        at_once(planes, work)
        known = {model.name for model in Versions(planes[0]).models()}
        wanted = {each.model for each in Endpoints(planes[0]).deployments() if each.state == "pending"}
        assert wanted <= known


def test_revisions_of_one_endpoint_are_counted_once_and_one_is_wanted(planes: Planes) -> None:
    for number in range(1, 5):
        Versions(planes[0]).add("m", manifest(number), ANALYSIS, False)
    endpoints = Endpoints(planes[0])
    start = endpoints.generation()
    at_once(
        planes, lambda each, n: Endpoints(each).deploy("e", "m", n % 4 + 1, (ONE, TWO)[n % 2], "x"), times=5
    )
    revisions = [each.revision for each in endpoints.deployments("e")]
    assert revisions == list(range(1, len(revisions) + 1))
    assert endpoints.get("e").wanted in {each.id for each in endpoints.deployments("e")}
    created = [entry for entry in Audit(planes[0]).list(1000) if entry.what == "deployment.create"]
    assert len(created) == len(revisions) == endpoints.generation() - start


def test_the_traffic_is_at_one_revision_whoever_moves_it(planes: Planes) -> None:
    for number in range(1, 5):
        Versions(planes[0]).add("m", manifest(number), ANALYSIS, False)
    endpoints = Endpoints(planes[0])
    made = [endpoints.deploy("e", "m", number, ONE, "x").id for number in range(1, 5)]
    at_once(planes, lambda each, n: Endpoints(each).serve("e", made[n % 4]), times=3)
    serving = endpoints.get("e").serving
    states = {each.id: each.state for each in endpoints.deployments("e")}
    assert states.pop(serving or "") == "ready"
    assert set(states.values()) <= {"retired", "pending"}


def test_a_job_is_claimed_once_and_its_story_has_no_gap(planes: Planes) -> None:
    made = [Jobs(planes[0]).create("deploy", str(n), ("one",), {}).id for n in range(12)]

    def work(each: Database, number: int) -> str | None:
        jobs = Jobs(each, is_alive=lambda owner: None)
        job = jobs.claim(claim_of(f"p{number}"), each.time(), 30.0)
        for turn in range(3):
            jobs.event(made[0], "progress", "one", f"{number} {turn}")
        return job and job.id

    claimed = [id for id in at_once(planes, work, times=4) if id is not None]
    assert sorted(map(str, claimed)) == sorted(made)
    assert [event.sequence for event in Jobs(planes[0]).events(made[0], 0)] == list(range(1, 49))


def test_a_job_ends_once_whoever_ends_it(planes: Planes) -> None:
    for _ in range(5):
        job = Jobs(planes[0]).create("deploy", "e", ("one",), {}).id

        def work(each: Database, number: int, job: str = job) -> bool:
            if number == 0:
                Jobs(each).cancel(job)
                return True
            return Jobs(each).finish(job, {"by": number})

        assert sum(answer is True for answer in at_once(planes, work)) == 1
        ends = [event.kind for event in Jobs(planes[0]).events(job, 0)]
        assert len(ends) == 1


def test_who_has_lost_a_job_can_do_nothing_for_it_even_after_claiming_it_again(planes: Planes) -> None:
    """The same process claims a job twice: its first run was cut off from the database for a while."""
    one, two = (Jobs(each, is_alive=lambda owner: None) for each in planes[:2])
    job = one.create("deploy", "e", ("one",), {}).id
    first, other, again = claim_of("p"), claim_of("q"), claim_of("p")
    assert one.claim(first, 0.0, 10.0) and two.claim(other, 20.0, 10.0) and one.claim(again, 40.0, 10.0)
    assert not one.renew(job, first, 41.0, 10.0)
    assert not one.finish(job, {}, owner=first)
    for call in (
        lambda: one.enter(job, "one", owner=first),
        lambda: one.event(job, "stage_done", "one", owner=first),
    ):
        with pytest.raises(Conflict):
            call()
    with pytest.raises(Conflict), planes[0].begin("anything") as session:
        one.hold(session, job, first)
    with planes[0].begin("anything") as session:
        one.hold(session, job, again)
    assert one.release_all("p") == 1
    assert one.get(job).state == "queued"


def test_what_is_told_again_is_told_once(database: Database) -> None:
    jobs = Jobs(database)
    job = jobs.create("deploy", "e", ("one",), {}).id
    told = [jobs.event(job, "stage_done", "one", "well", time=12.5) for _ in range(3)]
    assert [event.sequence for event in told] == [1, 1, 1]
    jobs.event(job, "stage_done", "one", "well", time=12.6)
    assert len(jobs.events(job, 0)) == 2


def test_a_deployment_is_not_made_by_who_may_not_any_more(database: Database) -> None:
    Versions(database).add("m", manifest(1), ANALYSIS, False)
    jobs, endpoints = Jobs(database), Endpoints(database)
    job = jobs.create("deploy", "e", ("one",), {}).id
    jobs.claim("me", 0.0, 30.0)
    jobs.cancel(job)
    with pytest.raises(Conflict):
        endpoints.deploy("e", "m", 1, ONE, None, fence=lambda session: jobs.hold(session, job, "me"))
    with pytest.raises(NotFound):
        endpoints.get("e")


# --- homes


class Team:
    """Homes that tell each other that they live, by a clock of the test's own."""

    def __init__(self, database: Database) -> None:
        self.now = 1000.0
        self.homes = {id: Homes(database, silence=30.0, clock=lambda: self.now) for id in "ab"}

    def go_on(self, seconds: float, *ids: str) -> None:
        """Time passes; those named tell it every five seconds, and at the end."""
        end = self.now + seconds
        while self.now < end:
            self.now = min(end, self.now + 5)
            for id in ids:
                self.homes[id].tell(id, f"host-{id}", f"http://{id}", None)


@pytest.fixture
def team(database: Database) -> Team:
    team = Team(database)
    team.go_on(60, "a", "b")
    return team


def test_a_home_is_gone_when_it_has_said_nothing_for_too_long(team: Team) -> None:
    b = team.homes["b"]
    team.go_on(30, "b")
    assert b.gone() == set()
    assert b.eldest() == "a"
    team.go_on(1, "b")
    assert b.gone() == {"a"}
    assert b.eldest() == "b"
    assert [(home.id, home.url, home.gone) for home in b.list()] == [
        ("a", "http://a", True),
        ("b", "http://b", False),
    ]
    team.go_on(5, "a", "b")
    assert b.gone() == set()
    assert b.eldest() == "a"


def test_nobody_is_gone_because_the_database_was_away_or_because_one_has_just_started(team: Team) -> None:
    team.go_on(300)  # none could say anything
    assert not team.homes["b"].gone()
    team.go_on(29, "b")  # it can again, and waits for the others as long as for anybody
    assert not team.homes["b"].gone()
    team.go_on(10, "b")
    assert team.homes["b"].gone() == {"a"}
    team.homes["a"].tell("a", "host", None, None)
    assert not team.homes["a"].gone() and not team.homes["b"].gone()


def test_the_jobs_of_a_home_are_its_own_until_it_is_gone(planes: Planes, team: Team) -> None:
    a, b = (
        Jobs(each, is_alive=lambda owner: None, home=id, gone=team.homes[id].gone)
        for each, id in zip(planes, "ab", strict=False)
    )
    waiting, running = (a.create("deploy", name, ("one",), {}).id for name in ("x", "y"))
    assert b.claim("b", 0.0, 30.0) is None
    first = a.claim("a", 0.0, 30.0)
    assert first is not None and first.id == waiting
    team.go_on(31, "b")
    # What it had not begun at once, what it had when its lease is over.
    taken = b.claim("b", 1.0, 30.0)
    assert taken is not None and taken.id == running
    assert b.claim("b", 1.0, 30.0) is None
    taken = b.claim("b", 30.0, 30.0)
    assert taken is not None and taken.id == waiting
    team.go_on(60, "a", "b")
    assert a.claim("a", 100.0, 30.0) is None  # they are the other's now
    assert [job.id for job in b.list(10, here=True)] == [running, waiting]


def test_an_endpoint_is_of_one_home_and_moves_when_that_is_gone(planes: Planes, team: Team) -> None:
    a, b = (
        Endpoints(each, home=id, gone=team.homes[id].gone) for each, id in zip(planes, "ab", strict=False)
    )
    Versions(planes[0]).add("m", manifest(1), ANALYSIS, False)
    first = a.deploy("e", "m", 1, ONE, "x")
    a.serve("e", first.id)
    with pytest.raises(Conflict, match="host-a, http://a"):
        b.deploy("e", "m", 1, TWO, "x")
    with pytest.raises(Conflict, match="host-a"):
        b.require_here("e")
    assert (a.default(), b.default()) == ("e", None)
    assert (len(a.snapshot(here=True)[0]), b.snapshot(here=True)[0], len(b.list())) == (1, [], 1)
    team.go_on(31, "b")
    b.require_here("e")
    second = b.deploy("e", "m", 1, ONE, "x")  # the same in everything, and yet a new one: it is elsewhere
    assert second.revision == 2
    endpoint = b.get("e")
    assert (endpoint.home, endpoint.wanted, endpoint.serving) == ("b", second.id, None)
    assert b.deployment(first.id).state == "retired"
    assert a.snapshot(here=True)[0] == []
    assert (a.serves_here(second.id), b.serves_here(second.id)) == (False, True)
    with pytest.raises(Conflict):
        a.serve("e", first.id)
    assert "endpoint.move" in [entry.what for entry in Audit(planes[0]).list(10)]


def test_names_are_ordered_by_their_bytes(database: Database) -> None:
    names = ["a-b", "a1", "ab", "b", "a"]
    for name in names:
        Versions(database).add(name, manifest(1), ANALYSIS, False)
    assert [model.name for model in Versions(database).models()] == sorted(names)
    with database.session() as session:
        found = session.execute(select(tables.models.c.name).order_by(tables.models.c.name)).scalars().all()
    assert found == sorted(names)


def test_a_reason_may_hold_what_a_crash_report_holds(database: Database) -> None:
    Versions(database).add("m", manifest(1), ANALYSIS, False)
    endpoints = Endpoints(database)
    id = endpoints.deploy("e", "m", 1, ONE, "x").id
    endpoints.set_state(id, "failed", "Segfault \0 ÄÖ 🦀")
    assert endpoints.deployment(id).reason == "Segfault \\0 ÄÖ 🦀"
