"""What does a wake cost the machine, and the sleep after it: milliseconds of a processor, by kind of model and by process.

The models of the zoo, in memory none. One after the other each is called, which wakes it, and put to sleep again;
nothing else runs. Counted is the time of processors, by the kernel, of the node, of its fork servers, and of the
executors: what others do on the machine counts for little, and the time that passes for nothing.
"""

import os
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from bench.models.zoo import Member, zoo
from bench.node import node
from bench.plan import Plan
from bench.results import Table, Verdict, at_most
from bench.statistics import median
from bench.status import status
from bench.zoo import all_served, http_connection, question_of

COUNT, TIMES = 24, 60
WARM = 6  # wakes of a kind before it is counted: its fork server is there, and knows what to import
GOALS = (("ONNX", 35), ("scikit-learn", 40))
PROCESSES = ("node", "fork servers", "executor")
_TICK = 1e3 / os.sysconf("SC_CLK_TCK")


class Spent(NamedTuple):
    """Milliseconds of a processor, in programs and in the kernel, and pages that were not there when touched."""

    user: float = 0.0
    system: float = 0.0
    faults: float = 0.0

    def less(self, other: "Spent") -> "Spent":
        return Spent(*(mine - theirs for mine, theirs in zip(self, other, strict=True)))

    def plus(self, other: "Spent") -> "Spent":
        return Spent(*(mine + theirs for mine, theirs in zip(self, other, strict=True)))

    @property
    def milliseconds(self) -> float:
        return self.user + self.system


def seconds(plan: Plan) -> float:
    return 60 + 4 * plan.count(TIMES, 3) * 0.4


def measure(plan: Plan) -> dict[str, Any]:
    times = plan.count(TIMES, 3)
    with tempfile.TemporaryDirectory() as folder:
        members = zoo(Path(folder) / "models", COUNT)
        pools = [member.pool for member in members]
        with node(Path(folder), *pools, core=None, answers=lambda each: bool(status(each.http))) as running:
            all_served(running.http)
            for member in members:
                _put_to_sleep(running.http, member)
            kinds = sorted({member.kind for member in members})
            return {
                "times": times,
                "kinds": {
                    kind: _kind(running.http, [m for m in members if m.kind == kind], times)
                    for kind in kinds
                },
            }


def _kind(http: str, members: list[Member], times: int) -> dict[str, Any]:
    """Of each wake and sleep what the node, its fork servers and the executor took."""
    node_pid = status(http)["pid"]
    for number in range(WARM):
        _wake(http, members[number % len(members)])
        time.sleep(0.3)
        _put_to_sleep(http, members[number % len(members)])
    rounds = max(1, times // 10)
    found: dict[str, list[Spent]] = {name: [] for name in PROCESSES}
    answered: list[float] = []  # milliseconds that an executor took until it had answered
    for _ in range(rounds):
        each = times // rounds
        servers = _processes(node_pid)[0]
        before, forks, gone = _of(node_pid), _all(servers), _children(node_pid)
        woken = 0.0
        for number in range(each):
            member = members[number % len(members)]
            _wake(http, member)
            woken += sum(map(_computed, _processes(node_pid)[1]))
            _put_to_sleep(http, member)
        if _processes(node_pid)[0] != servers:
            continue  # one came or went: its imports are no wake's
        for name, spent in (
            ("node", _of(node_pid).less(before)),
            ("fork servers", _all(servers).less(forks)),
            ("executor", _children(node_pid).less(gone)),
        ):
            found[name].append(Spent(*(value / each for value in spent)))
        answered.append(woken / each)
    return {name: [spent._asdict() for spent in many] for name, many in found.items()} | {
        "answered": answered
    }


def _wake(http: str, member: Member) -> None:
    """Call it while it sleeps."""
    body = question_of(member).request.partition(b"\r\n\r\n")[2]
    connection = http_connection(http)
    path = f"/models/{member.pool.endpoint}/predict"
    connection.request("POST", path, body, {"content-type": "application/json"})
    answer = connection.getresponse().read()
    connection.close()
    assert question_of(member).right(answer), answer


def _put_to_sleep(http: str, member: Member) -> None:
    connection = http_connection(http)
    connection.request("POST", f"/v2/repository/models/{member.pool.endpoint}/unload", b"{}")
    response = connection.getresponse()
    said = response.read()
    connection.close()
    assert response.status == 200, said


def _fields(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _of(pid: int) -> Spent:
    """What a process has taken so far."""
    fields = _fields(pid)
    return Spent(int(fields[11]) * _TICK, int(fields[12]) * _TICK, float(fields[7]))


def _computed(pid: int) -> float:
    """Milliseconds that all threads of a process have computed; finer than :func:`_of`."""
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(each.read_text().split()[0]) for each in tasks) / 1e6


def _children(pid: int) -> Spent:
    """What those took that were its children, and have ended."""
    fields = _fields(pid)
    return Spent(int(fields[13]) * _TICK, int(fields[14]) * _TICK, float(fields[8]))


def _processes(pid: int) -> tuple[frozenset[int], frozenset[int]]:
    """The fork servers and the executors of a node."""
    servers, executors = set(), set()
    for listed in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, listed.read_text().split()):
            server = Path(f"/proc/{child}/cwd").resolve().name.startswith("forks-")
            (servers if server else executors).add(child)
    return frozenset(servers), frozenset(executors)


def _all(pids: Iterable[int]) -> Spent:
    """What these have taken, and what they forked to fork."""
    total = Spent()
    for pid in pids:
        total = total.plus(_of(pid)).plus(_children(pid))
    return total


def _sum(kind: dict[str, Any]) -> float:
    return sum(_median(kind, name).milliseconds for name in PROCESSES)


def _median(kind: dict[str, Any], name: str) -> Spent:
    return Spent(*(median([each[field] for each in kind[name]]) for field in Spent._fields))


def tables(result: dict[str, Any]) -> list[Table]:
    def text(spent: Spent) -> str:
        return f"{spent.milliseconds:.1f} ({spent.user:.1f} + {spent.system:.1f}; {spent.faults:,.0f})"

    rows = [
        (
            kind,
            f"{_sum(told):.1f}",
            *(text(_median(told, name)) for name in PROCESSES),
            f"{median(told['answered']):.1f}",
        )
        for kind, told in sorted(result["kinds"].items())
    ]
    header = (
        "ms of a processor (programs + kernel; page faults)",
        "all",
        *PROCESSES,
        "of the executor: until it has answered",
    )
    return [Table("A wake, an answer and a sleep", header, rows)]


def verdicts(result: dict[str, Any]) -> list[Verdict]:
    kinds = result["kinds"]
    return [
        at_most(f"a wake and a sleep of {kind} ≤ {bound} ms", _sum(kinds[kind]), bound, " ms", 1)
        for kind, bound in GOALS
    ]
