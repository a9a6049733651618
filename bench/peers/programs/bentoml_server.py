"""BentoML: serves `bentoml_service` on loopback. It has no V2; its JSON carries the same numbers or text."""

import os
import sys
from pathlib import Path

import arguments

asked = arguments.read()
here = str(Path(__file__).resolve().parent)
command = [sys.executable, "-m", "bentoml", "serve", "bentoml_service:Service", "--host", "127.0.0.1"]
command += ["--port", str(asked.port), "--working-dir", here, "--timeout", "60"]
environment = {**os.environ, "BENTOML_HOME": str(asked.folder / "bentoml"), "BENTOML_DO_NOT_TRACK": "True"}
os.execve(sys.executable, command, environment)
