"""``python -m tests.fuzz NAME [--inputs N] [--seed N] [--engine atheris]``: one harness, or all, for long."""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from fuzz.engine import HANG, MEMORY, Harness, keep, limit_memory, regressions, run
from fuzz.harnesses import NAMES, harness


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("name", nargs="?", help="a harness, or all")
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--engine", choices=["own", "atheris"], default="own")
    arguments = parser.parse_args()
    if arguments.name is None:
        print("\n".join(NAMES))
        return 0
    if arguments.name == "all":
        codes = [
            subprocess.call([sys.executable, "-m", "tests.fuzz", name, *sys.argv[2:]]) for name in NAMES
        ]
        return max(codes)
    if arguments.name not in NAMES:
        parser.error(f"there is no harness {arguments.name!r}; there are: {', '.join(NAMES)}")
    if arguments.engine == "atheris":
        _by_coverage(arguments.name, arguments.inputs, arguments.seed)
    tried = harness(arguments.name)
    limit_memory()
    report = run(tried, arguments.inputs, arguments.seed)
    per_second = report.inputs / max(report.seconds, 1e-9)
    print(
        f"{arguments.name}: {report.inputs} inputs in {report.seconds:.0f} s ({per_second:.0f}/s), slowest "
        f"{report.slowest * 1e3:.1f} ms, memory +{report.memory / 2**20:.0f} MiB, "
        f"{len(report.failures)} findings",
        flush=True,
    )
    for data, what in report.failures:
        print(f"  {keep(arguments.name, data)}: {what[:500]}\n    {data[:200]!r}")
    return 1 if report.failures else 0


def _by_coverage(name: str, inputs: int, seed: int) -> None:
    """Let libFuzzer choose the inputs by what they reach; ends the process."""
    import atheris  # pyright: ignore[reportMissingImports] - a tool for the long run alone

    with atheris.instrument_imports(include=["modelyard", "modelyard_executor"]):
        tried: Harness = harness(name)
    with tempfile.TemporaryDirectory() as corpus:
        for index, data in enumerate((*regressions(name), *tried.seeds)):
            (Path(corpus) / str(index)).write_bytes(data)
        flags = [
            f"-runs={inputs}",
            f"-seed={seed}",
            f"-timeout={HANG:.0f}",
            f"-rss_limit_mb={MEMORY >> 20}",
        ]
        atheris.Setup([sys.argv[0], *flags, "-print_final_stats=1", "-verbosity=0", corpus], tried.fuzz_one)
        atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
