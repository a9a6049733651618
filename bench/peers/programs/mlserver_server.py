"""MLServer: a runtime of ours in its worker process, adaptive batches; V2 is its own protocol."""

import json
import os
import sys
from pathlib import Path

import arguments

asked = arguments.read()
folder = asked.folder / "mlserver"
(folder / asked.task).mkdir(parents=True, exist_ok=True)
(folder / "settings.json").write_text(
    json.dumps(
        {
            "host": "127.0.0.1",
            "http_port": asked.port,
            "grpc_port": asked.grpc_port,
            "metrics_endpoint": None,
            "parallel_workers": 1,
            "debug": False,
            "logging_settings": {"version": 1, "disable_existing_loggers": True},
        }
    )
)
(folder / asked.task / "model-settings.json").write_text(
    json.dumps(
        {
            "name": asked.task,
            "implementation": "mlserver_runtime.Runtime",
            "max_batch_size": asked.max_batch,
            "max_batch_time": asked.max_wait_ms / 1e3,
            "parameters": {"uri": str(asked.model)},
        }
    )
)
environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parent)}
command = str(Path(sys.executable).with_name("mlserver"))
os.execve(command, [command, "start", str(folder)], environment)
