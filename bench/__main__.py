"""`python -m bench`: ask questions, draw plots, fill in the page. See `--help`."""

import argparse
import importlib
import os
import signal
import sys
import time

from bench.cores import LOAD_CORE
from bench.machine import describe
from bench.plan import Plan
from bench.plots import plots
from bench.report import report
from bench.results import envelope, save, verdict_table

QUESTIONS = (
    "overhead",
    "mixed_lengths",
    "esm2",
    "devices",
    "accelerator",
    "useful_share",
    "isolation",
    "overload",
    "endurance",
    "http_server",
    "command_line",
    "deploy_time",
    "zoo",
    "wake",
    "thousand",
    "environments",
    "registry_search",
    "analysis",
    "store",
    "uploads",
    "gpu",
)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "questions",
        nargs="*",
        default=["all"],
        help=f"all, report, plots, or some of: {', '.join(QUESTIONS)}",
    )
    parser.add_argument("--quick", action="store_true", help="see that it runs; the numbers are not kept")
    parser.add_argument("--peers", help="only these, by commas (an empty value: none)")
    parser.add_argument("--rounds", type=int, default=5, help="interleaved runs; their medians are taken")
    parser.add_argument("--minutes", type=float, help="fit all the questions asked into about so long")
    asked = parser.parse_args()
    if asked.questions == ["report"]:
        print(report(QUESTIONS))
        return
    if asked.questions == ["plots"]:
        print(*plots(), sep="\n")
        return
    names = list(QUESTIONS) if asked.questions == ["all"] else asked.questions
    unknown = set(names) - set(QUESTIONS)
    if unknown:
        parser.error(f"no such question: {', '.join(sorted(unknown))}; there are: {', '.join(QUESTIONS)}")
    peers = None if asked.peers is None else tuple(filter(None, asked.peers.split(",")))
    plan = Plan(asked.quick, asked.rounds, 1.0, peers)
    modules = {name: importlib.import_module(f"bench.{name}") for name in names}
    if asked.questions == ["all"]:
        for name, module in list(modules.items()):
            if (why := getattr(module, "available", lambda: None)()) is not None:
                print(f"{name} is left out: {why}")
                del modules[name]
    if asked.minutes is not None:
        plan = _fitted(plan, modules, asked.minutes * 60)
    # Ended by a signal, it ends what it started as on any other way out.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    # The load runs in this process: servers are given their own cores when they are started.
    os.sched_setaffinity(0, {LOAD_CORE})
    print(describe())
    print(
        f"about {sum(module.seconds(plan) for module in modules.values()) / 60:.1f} minutes in all",
        flush=True,
    )
    failed = [name for name, module in modules.items() if not _ask(name, module, plan)]
    if failed:
        sys.exit(f"not answered: {', '.join(failed)}")


def _fitted(plan: Plan, modules: dict, limit: float) -> Plan:
    """The longest runs that fit; medians of fewer than five are not taken for that."""
    low, high = 0.05, 4.0
    for _ in range(20):
        middle = (low + high) / 2
        scaled = Plan(plan.quick, plan.rounds, middle, plan.peers)
        if sum(module.seconds(scaled) for module in modules.values()) > limit:
            high = middle
        else:
            low = middle
    fitted = Plan(plan.quick, plan.rounds, low, plan.peers)
    needed = sum(module.seconds(fitted) for module in modules.values())
    if needed > limit * 1.01:
        print(
            f"{limit / 60:.0f} minutes are too few for {plan.rounds} runs of everything; the least is taken"
        )
    return fitted


def _ask(name: str, module, plan: Plan) -> bool:
    title = module.__doc__.splitlines()[0]
    print(f"\n## {name}: {title}\n(about {module.seconds(plan) / 60:.1f} minutes)\n", flush=True)
    started = time.monotonic()
    head = envelope(plan)
    try:
        result = {**head, **module.measure(plan)}
    except Exception as trouble:
        # One question that cannot be answered must not cost the answers to the others.
        told = getattr(trouble, "stderr", None) or ""  # what a program said that ended with an error
        print(f"{type(trouble).__name__}: {trouble}\n{told}", file=sys.stderr, flush=True)
        return False
    result["seconds"] = round(time.monotonic() - started, 1)
    path = save(name, result)
    for table in module.tables(result):
        print(table.text() + "\n")
    if found := module.verdicts(result):
        print(verdict_table(found).text())
    print(f"\n{path} ({result['seconds']:.0f} s)", flush=True)
    return True


if __name__ == "__main__":
    main()
