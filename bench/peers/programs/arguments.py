"""What the bench tells every peer's program; one command line for all of them."""

import argparse
import json
import os
import sys
from pathlib import Path


def read() -> argparse.Namespace:
    """``task`` (mlp, texts), ``model`` (a file or folder), ``port``, ``grpc_port``, ``folder`` (to write in),
    ``max_batch`` (items), ``max_wait_ms`` (the window of those that batch by window)."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--task", required=True)
    parser.add_argument("--model", required=True, type=Path)
    parser.add_argument("--port", required=True, type=int)
    parser.add_argument("--grpc-port", required=True, type=int)
    parser.add_argument("--folder", required=True, type=Path)
    parser.add_argument("--max-batch", type=int, default=32)
    parser.add_argument("--max-wait-ms", type=float, default=0.0)
    # Workers that import the program again may find another command line: mosec's own, say.
    words = json.loads(os.environ.setdefault("BENCH_ARGUMENTS", json.dumps(sys.argv[1:])))
    return parser.parse_args(words)
