"""infinity-emb: its own command line, PyTorch on the CPU, OpenAI's embeddings; batches by its own queue."""

import os
import sys
from pathlib import Path

import arguments

asked = arguments.read()
command = str(Path(sys.executable).with_name("infinity_emb"))
environment = {
    **os.environ,
    "HF_HUB_OFFLINE": "1",
    "DO_NOT_TRACK": "1",
    "INFINITY_ANONYMOUS_USAGE_STATS": "0",
}
options = ["v2", "--model-id", str(asked.model), "--served-model-name", asked.task, "--host", "127.0.0.1"]
options += ["--port", str(asked.port), "--device", "cpu", "--engine", "torch", "--dtype", "float32"]
options += ["--batch-size", str(asked.max_batch), "--no-bettertransformer", "--no-model-warmup"]
os.execve(command, [command, *options], environment)
