"""One file per question that a number answers. `make bench` asks them all and prints the answers."""

import sys
from pathlib import Path

# The small models of the tests are the models of the benchmarks.
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
