"""Ray Serve: one replica that batches, its HTTP proxy, V2's JSON."""

import os
import signal
import threading
from pathlib import Path

import arguments
import compute

asked = arguments.read()
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

import ray  # noqa: E402
from ray import serve  # noqa: E402
from starlette.requests import Request  # noqa: E402

TASK, MODEL = asked.task, str(asked.model)


@serve.deployment(num_replicas=1, max_ongoing_requests=4096, ray_actor_options={"num_cpus": 0})
class Served:
    def __init__(self) -> None:
        self.model = compute.load(TASK, MODEL)

    @serve.batch(max_batch_size=asked.max_batch, batch_wait_timeout_s=asked.max_wait_ms / 1e3)
    async def together(self, rows: list) -> list:
        return compute.together(TASK, self.model, rows)

    async def __call__(self, request: Request) -> dict:
        body = await request.json()
        return compute.v2_answer(TASK, await self.together(body["inputs"][0]["data"]))


if __name__ == "__main__":
    here = str(Path(__file__).resolve().parent)
    ray.init(
        num_cpus=2,
        include_dashboard=False,
        logging_level="error",
        log_to_driver=False,
        object_store_memory=100 * 2**20,
        runtime_env={"env_vars": {"PYTHONPATH": here, "OMP_NUM_THREADS": "1"}},
        _temp_dir="/tmp/ray-bench",
    )
    serve.start(
        http_options={"host": "127.0.0.1", "port": asked.port}, logging_config={"log_level": "ERROR"}
    )
    serve.run(Served.bind(), route_prefix=f"/v2/models/{TASK}/infer", name="served")
    done = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: done.set())
    done.wait()
    serve.shutdown()
    ray.shutdown()
