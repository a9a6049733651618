"""Triton as PyPI's nvidia-pytriton brings it: the real server with its Python backend.

Writes a model repository and becomes tritonserver. Dynamic batching is on.
"""

import os
import shutil
import sys
import sysconfig
from pathlib import Path

import arguments

asked = arguments.read()
server = Path(sysconfig.get_path("purelib"), "pytriton", "tritonserver")
root = asked.folder / "triton"
shutil.rmtree(root, ignore_errors=True)

# The backend's stub is built for one Python; the wheel has one for each.
backend = root / "backends" / "python"
shutil.copytree(server / "backends" / "python", backend)
version = f"{sys.version_info.major}.{sys.version_info.minor}"
shutil.copy(server / "python_backend_stubs" / version / "triton_python_backend_stub", backend)

programs = Path(__file__).resolve().parent
repository = root / "models" / asked.task
(repository / "1").mkdir(parents=True)
shutil.copy(programs / "triton_model.py", repository / "1" / "model.py")
shutil.copy(programs / "compute.py", repository / "1")
inputs, outputs = {
    "mlp": (('"x"', "TYPE_FP32", 64), ('"y"', "TYPE_FP32", 10)),
    "texts": (('"text"', "TYPE_STRING", 1), ('"embedding"', "TYPE_FP32", 384)),
}[asked.task]
(repository / "config.pbtxt").write_text(f"""
name: "{asked.task}"
backend: "python"
max_batch_size: {asked.max_batch}
input [ {{ name: {inputs[0]} data_type: {inputs[1]} dims: [ {inputs[2]} ] }} ]
output [ {{ name: {outputs[0]} data_type: {outputs[1]} dims: [ {outputs[2]} ] }} ]
instance_group [ {{ count: 1 kind: KIND_CPU }} ]
dynamic_batching {{ max_queue_delay_microseconds: {int(asked.max_wait_ms * 1000)} }}
parameters {{ key: "task" value: {{ string_value: "{asked.task}" }} }}
parameters {{ key: "model" value: {{ string_value: "{asked.model}" }} }}
""")

environment = dict(os.environ)
site = sysconfig.get_path("purelib")
environment["LD_LIBRARY_PATH"] = f"{sysconfig.get_config_var('LIBDIR')}:{site}/nvidia_pytriton.libs"
# The stub finds its packages by the first Python on the path.
environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
command = [
    str(server / "bin" / "tritonserver"),
    f"--model-repository={root / 'models'}",
    f"--backend-directory={root / 'backends'}",
    "--http-address=127.0.0.1",
    f"--http-port={asked.port}",
    "--grpc-address=127.0.0.1",
    f"--grpc-port={asked.grpc_port}",
    "--allow-metrics=false",
    "--log-verbose=0",
    *os.environ.get("BENCH_TRITON_OPTIONS", "").split(),
]
os.execve(command[0], command, environment)
