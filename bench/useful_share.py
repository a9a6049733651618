"""How much of what a device computes is not padding? 20,000 mixed lengths through six ways to batch.

Lognormal lengths (median 299, 95th percentile 1,030, at most 2,048: what reproduces the shares stated
for the first four ways), 256 of them waiting at any time, batches of at most 16,384 padded tokens. Ours
is the node's own scheduler on a virtual clock: once by lengths alone, as it batches for a device that
it knows nothing of, and once as the node drives it, learning the device's law (8 ms and 1 µs a padded
token) while it works, which then trades padding for fewer batches. A share alone is easily bought with batches of one, so the tokens a
second that this device would compute stand beside it.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from bench.lengths import lognormal, packed, padded, useful_share
from bench.plan import Plan
from bench.results import Table, Verdict, at_least

COUNT, MEDIAN, P95, MOST = 20_000, 299, 1_030, 2_048
WINDOW, BUDGET, ROWS = 256, 16_384, 32
FIXED, PER_TOKEN = 8e-3, 1e-6
STATED = {"fifo": 0.28, "padded fifo": 0.37, "sort and slice": 0.72, "nearest lengths": 0.87}

Batches = list[Sequence[int]]


def fifo(lengths: Sequence[int]) -> Batches:
    """32 at a time, as they come."""
    return [lengths[start : start + ROWS] for start in range(0, len(lengths), ROWS)]


def padded_fifo(lengths: Sequence[int]) -> Batches:
    """As they come, as many as fit the budget."""
    return list(packed(lengths, BUDGET, len(lengths)))


def sort_and_slice(lengths: Sequence[int]) -> Batches:
    """256 at a time, sorted, cut into 32s."""
    windows = (sorted(lengths[start : start + WINDOW]) for start in range(0, len(lengths), WINDOW))
    return [batch for window in windows for batch in fifo(window)]


def nearest_lengths(lengths: Sequence[int]) -> Batches:
    """The oldest, and of those that wait the nearest lengths while they fit the budget."""
    batches: Batches = []
    coming = iter(lengths)
    waiting = _filled([], coming)
    while waiting:
        head = waiting[0]
        batch, longest = [0], head
        for index in sorted(range(1, len(waiting)), key=lambda at: abs(waiting[at] - head)):
            new = max(longest, waiting[index])
            if (len(batch) + 1) * new > BUDGET:
                break
            batch.append(index)
            longest = new
        taken = set(batch)
        batches.append([waiting[index] for index in batch])
        waiting = _filled([each for index, each in enumerate(waiting) if index not in taken], coming)
    return batches


def _filled(waiting: list[int], coming: Iterator[int]) -> list[int]:
    for length in coming:
        waiting.append(length)
        if len(waiting) == WINDOW:
            break
    return waiting


def ours(lengths: Sequence[int]) -> Batches:
    """``policy.scheduler`` with one worker, by lengths alone."""
    return _scheduled(lengths, learn=False)


def ours_by_law(lengths: Sequence[int]) -> Batches:
    """The same; every batch's time is learnt from, as in the node."""
    return _scheduled(lengths, learn=True)


def _scheduled(lengths: Sequence[int], *, learn: bool) -> Batches:
    from modelyard.policy.latency import LatencyModel
    from modelyard.policy.scheduler import Limits, Scheduler
    from modelyard.policy.work import Entry
    from modelyard.policy.work import measure as cost_of

    scheduler: Scheduler[Entry] = Scheduler(Limits(batch=100_000, queue=100_000, cost=BUDGET), "padded")
    model = LatencyModel()
    now = 0.0
    coming = iter(lengths)
    batches: Batches = []
    waiting = 0
    while True:
        while waiting < WINDOW and (length := next(coming, None)) is not None:
            if scheduler.submit(Entry(1, now + 1e6, length=length), now) is not None:
                raise RuntimeError("the scheduler refused an entry although its queue has room")
            waiting += 1
        batch = scheduler.next_batch(now, model)
        if not batch:
            if waiting:
                raise RuntimeError(f"{waiting} entries wait and no batch was made")
            return batches
        waiting -= len(batch)
        cost = cost_of("padded", batch)
        seconds = FIXED + PER_TOKEN * cost.padded
        now += seconds
        if learn:
            model.observe(cost.padded, cost.squares, cost.useful, seconds)
            scheduler.speed = model.speed
        scheduler.computed(cost.padded)
        for entry in batch:
            entry.done = True
        batches.append([entry.length for entry in batch])


WAYS: dict[str, Callable[[Sequence[int]], Batches]] = {
    "fifo": fifo,
    "padded fifo": padded_fifo,
    "sort and slice": sort_and_slice,
    "nearest lengths": nearest_lengths,
    "ours": ours,
    "ours, by the law": ours_by_law,
}


def seconds(plan: Plan) -> float:
    return 5.0 * plan.repeats


def measure(plan: Plan) -> dict[str, Any]:
    """Every way with each of the seeds; nothing here depends on the machine."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name in WAYS}
    for seed in range(plan.repeats):
        lengths = lognormal(COUNT, median=MEDIAN, p95=P95, seed=seed, most=MOST)
        for name, way in WAYS.items():
            batches = way(lengths)
            if sorted(length for batch in batches for length in batch) != sorted(lengths):
                raise RuntimeError(f"{name} lost or doubled an item")
            taken = sum(FIXED + PER_TOKEN * padded(batch) for batch in batches)
            found[name].append(
                {
                    "share": useful_share(batches),
                    "batches": len(batches),
                    "rows": len(lengths) / len(batches),
                    "largest": max(map(padded, batches)),
                    "tokens_per_second": sum(lengths) / taken,
                }
            )
    return {"ways": found, "stated": STATED}


def _mean(result: dict[str, Any], name: str, what: str) -> float:
    runs = result["ways"][name]
    return sum(run[what] for run in runs) / len(runs)


def tables(result: dict[str, Any]) -> list[Table]:
    rows = [
        (
            name,
            f"{result['stated'][name]:.2f}" if name in result["stated"] else "",
            f"{_mean(result, name, 'share'):.3f}",
            f"{_mean(result, name, 'rows'):.1f}",
            f"{_mean(result, name, 'largest'):,.0f}",
            f"{_mean(result, name, 'tokens_per_second'):,.0f}",
        )
        for name in result["ways"]
    ]
    header = (
        "",
        "share stated",
        "useful share",
        "rows a batch",
        "largest batch, padded tokens",
        "useful tokens/s",
    )
    return [Table("", header, rows)]


def verdicts(result: dict[str, Any]) -> list[Verdict]:
    return [
        at_least(
            "useful-token share ≥ 0.90 at the same budget and window",
            _mean(result, "ours", "share"),
            0.90,
            digits=3,
        )
    ]
