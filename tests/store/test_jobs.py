"""Jobs: claimed by one, resumed when their owner is dead, and ended once."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from modelyard.core.errors import Cancelled, Conflict, NotFound
from modelyard.store.database import Database
from modelyard.store.jobs import Jobs
from modelyard.store.owner import is_alive, this_process

STAGES = ("one", "two")


@pytest.fixture
def jobs(database: Database) -> Jobs:
    """With owners whose life nobody knows: only leases count."""
    return Jobs(database, is_alive=lambda owner: None)


def test_a_job_is_claimed_once_the_oldest_first(jobs: Jobs) -> None:
    first, second = (jobs.create("deploy", name, STAGES, {"n": 1}) for name in ("a", "b"))
    claimed = [jobs.claim("me", 0.0, 30.0) for _ in range(3)]
    assert [job and job.id for job in claimed] == [first.id, second.id, None]
    assert claimed[0] is not None
    assert (claimed[0].state, claimed[0].parameters) == ("running", {"n": 1})


def test_many_claimers_never_get_the_same_job(jobs: Jobs) -> None:
    made = {jobs.create("deploy", "e", STAGES, {}).id for _ in range(12)}
    with ThreadPoolExecutor(4) as pool:
        claimed = list(pool.map(lambda n: jobs.claim(f"owner-{n}", 0.0, 30.0), range(16)))
    ids = [job.id for job in claimed if job is not None]
    assert sorted(ids) == sorted(made)


def test_a_lease_that_ran_out_frees_the_job(jobs: Jobs) -> None:
    job = jobs.create("deploy", "e", STAGES, {})
    jobs.claim("one", 0.0, 30.0)
    assert jobs.claim("two", 29.9, 30.0) is None
    taken = jobs.claim("two", 30.0, 30.0)
    assert taken is not None
    assert taken.id == job.id
    assert not jobs.renew(job.id, "one", 30.0, 30.0)
    assert jobs.renew(job.id, "two", 30.0, 30.0)


def test_a_renewed_lease_holds(jobs: Jobs) -> None:
    job = jobs.create("deploy", "e", STAGES, {})
    jobs.claim("one", 0.0, 30.0)
    assert jobs.renew(job.id, "one", 20.0, 30.0)
    assert jobs.claim("two", 40.0, 30.0) is None


def test_the_job_of_a_killed_process_is_free_at_once(database: Database) -> None:
    code = "from modelyard.store.owner import this_process; print(this_process(), flush=True); input()"
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    owner = process.stdout.readline().strip()
    jobs = Jobs(database)
    job = jobs.create("deploy", "e", STAGES, {})
    jobs.claim(owner, 0.0, 1e9)
    assert (is_alive(owner), jobs.claim(this_process(), 0.0, 30.0), jobs.interrupted()) == (True, None, [])
    process.kill()
    process.communicate()
    assert [each.id for each in jobs.interrupted()] == [job.id]
    taken = jobs.claim(this_process(), 0.0, 30.0)
    assert taken is not None
    assert taken.id == job.id


def test_an_owner_elsewhere_is_neither_dead_nor_alive() -> None:
    assert is_alive("another-host/boot/1/1") is None
    assert is_alive("rubbish") is None


def test_what_is_released_is_free_at_once(jobs: Jobs) -> None:
    jobs.create("deploy", "e", STAGES, {})
    jobs.claim("one", 0.0, 30.0)
    assert jobs.release_all("one") == 1
    assert jobs.claim("two", 0.0, 30.0) is not None


def test_events_are_counted_from_one(jobs: Jobs) -> None:
    job = jobs.create("deploy", "e", STAGES, {})
    jobs.event(job.id, "stage_started", "one")
    jobs.event(job.id, "stage_done", "one", "well", data={"version": 3})
    assert [event.sequence for event in jobs.events(job.id, 0)] == [1, 2]
    (last,) = jobs.events(job.id, 1)
    assert (last.message, last.data) == ("well", {"version": 3})


def test_two_jobs_do_not_share_their_stories(jobs: Jobs) -> None:
    first, second = (jobs.create("deploy", "e", STAGES, {}) for _ in range(2))
    jobs.event(first.id, "progress", message="mine")
    assert jobs.events(second.id, 0) == []


def test_the_end_and_its_event_come_together(jobs: Jobs) -> None:
    job = jobs.create("deploy", "e", STAGES, {})
    jobs.claim("one", 0.0, 30.0)
    assert jobs.finish(job.id, {"url": "http://x"}, owner="one")
    found = jobs.get(job.id)
    assert (found.state, found.result) == ("done", {"url": "http://x"})
    assert [event.kind for event in jobs.events(job.id, 0)] == ["done"]


def test_a_failure_keeps_its_error_body(jobs: Jobs) -> None:
    job = jobs.create("deploy", "e", STAGES, {})
    jobs.fail(job.id, {"error": "It broke.", "code": "internal"})
    assert jobs.get(job.id).error == {"error": "It broke.", "code": "internal"}
    assert jobs.events(job.id, 0)[-1].message == "It broke."


def test_a_job_ends_once(jobs: Jobs) -> None:
    job = jobs.create("deploy", "e", STAGES, {})
    jobs.cancel(job.id)
    assert not jobs.finish(job.id, {})
    assert not jobs.fail(job.id, {"error": "late"})
    assert jobs.get(job.id).state == "cancelled"
    assert [event.kind for event in jobs.events(job.id, 0)] == ["cancelled"]


def test_who_lost_the_job_cannot_end_it(jobs: Jobs) -> None:
    job = jobs.create("deploy", "e", STAGES, {})
    jobs.claim("one", 0.0, 1.0)
    jobs.claim("two", 2.0, 30.0)
    assert not jobs.finish(job.id, {}, owner="one")
    assert jobs.finish(job.id, {}, owner="two")


def test_what_has_ended_cannot_be_cancelled(jobs: Jobs) -> None:
    job = jobs.create("deploy", "e", STAGES, {})
    jobs.finish(job.id, {})
    with pytest.raises(Conflict, match="nothing to cancel"):
        jobs.cancel(job.id)


def test_a_stage_is_entered_only_while_the_job_runs(jobs: Jobs) -> None:
    job = jobs.create("deploy", "e", STAGES, {})
    with pytest.raises(Conflict):
        jobs.enter(job.id, "one")
    jobs.claim("me", 0.0, 30.0)
    jobs.enter(job.id, "two")
    assert jobs.get(job.id).stage == "two"
    with pytest.raises(Conflict, match="no stage"):
        jobs.enter(job.id, "three")
    jobs.cancel(job.id)
    with pytest.raises(Cancelled):
        jobs.enter(job.id, "one")


def test_jobs_are_listed_the_newest_first(jobs: Jobs) -> None:
    made = [jobs.create("deploy", str(n), STAGES, {}).id for n in range(3)]
    jobs.cancel(made[1])
    assert [job.id for job in jobs.list(2)] == [made[2], made[1]]
    assert [job.id for job in jobs.list(10, "queued")] == [made[2], made[0]]


def test_an_unknown_job_is_not_found(jobs: Jobs) -> None:
    for call in (jobs.get, jobs.cancel, lambda id: jobs.events(id, 0), lambda id: jobs.finish(id, {})):
        with pytest.raises(NotFound):
            call("nowhere")
