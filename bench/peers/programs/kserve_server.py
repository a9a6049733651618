"""KServe's Python server: a V2 model in the server's own process, no batches."""

import arguments
import compute
import numpy as np
from kserve import InferOutput, InferRequest, InferResponse, Model, ModelServer

asked = arguments.read()


class Served(Model):
    def __init__(self) -> None:
        super().__init__(asked.task)
        self.model = compute.load(asked.task, asked.model)
        self.ready = True

    async def predict(self, payload: InferRequest, headers=None, response_headers=None) -> InferResponse:
        tensor = payload.inputs[0]
        if asked.task == "mlp":
            found = self.model(tensor.as_numpy().astype(np.float32, copy=False))
        else:
            rows = tensor.as_numpy().reshape(-1)
            found = self.model([row.decode() if isinstance(row, bytes) else str(row) for row in rows])
        output = InferOutput(name="output", shape=list(found.shape), datatype="FP32")
        output.set_data_from_numpy(found, binary_data=False)
        return InferResponse(
            response_id=payload.id or "bench", model_name=asked.task, infer_outputs=[output]
        )


if __name__ == "__main__":
    ModelServer(
        http_port=asked.port,
        grpc_port=asked.grpc_port,
        workers=1,
        enable_docs_url=False,
        access_log_format=None,
    ).start([Served()])
