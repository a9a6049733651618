"""BentoML's service: its API batches adaptively; its own JSON, the same numbers or text."""

import arguments
import bentoml
import compute
import numpy as np

asked = arguments.read()


@bentoml.service(
    workers=1, traffic={"timeout": 60, "max_concurrency": 4096}, logging={"access": {"enabled": False}}
)
class Service:
    def __init__(self) -> None:
        self.model = compute.load(asked.task, asked.model)

    if asked.task == "mlp":

        @bentoml.api(
            batchable=True,
            batch_dim=0,
            max_batch_size=asked.max_batch,
            max_latency_ms=10_000,
            route="/infer",
        )
        def infer(self, data: np.ndarray) -> np.ndarray:
            return self.model(data.astype("float32"))

    else:

        @bentoml.api(
            batchable=True,
            batch_dim=0,
            max_batch_size=asked.max_batch,
            max_latency_ms=10_000,
            route="/infer",
        )
        def infer(self, data: list[str]) -> np.ndarray:
            return self.model(data)
