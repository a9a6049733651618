"""`python -m bench [question ...]`: ask the questions, print a table of answers, one a file."""

import importlib
import pkgutil
import sys

import bench
from bench.machine import describe

QUESTIONS = [
    name
    for _, name, _ in pkgutil.iter_modules(bench.__path__)
    if name not in ("__main__", "machine", "load", "node", "servers")
]


def main() -> None:
    wanted = sys.argv[1:] or QUESTIONS
    unknown = set(wanted) - set(QUESTIONS)
    if unknown:
        sys.exit(f"no such question: {', '.join(sorted(unknown))}; there are: {', '.join(QUESTIONS)}")
    print(describe())
    for name in wanted:
        module = importlib.import_module(f"bench.{name}")
        print(f"\n## {module.__doc__.splitlines()[0]}\n", flush=True)
        rows = module.answer()
        width = max(len(label) for label, _, _ in rows)
        for label, value, goal in rows:
            print(f"{label:{width}}  {value:>16}  {goal}".rstrip(), flush=True)


if __name__ == "__main__":
    main()
