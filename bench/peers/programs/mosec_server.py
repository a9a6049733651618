"""mosec: one worker process, dynamic batches; V2's JSON, read by msgspec (its own choice is the slower json)."""

import sys

import arguments
import compute
import msgspec
import numpy as np
from mosec import Server, Worker

asked = arguments.read()


class Tensor(msgspec.Struct):
    data: list


class Body(msgspec.Struct):
    inputs: list[Tensor]


decode, encode = msgspec.json.Decoder(Body).decode, msgspec.json.Encoder().encode


class Model(Worker):
    def __init__(self) -> None:
        super().__init__()
        self.model = compute.load(asked.task, asked.model)

    def deserialize(self, data: bytes) -> list:
        return decode(data).inputs[0].data

    def forward(self, data: list) -> list:
        if asked.task == "mlp":
            return self.model(np.array(data, dtype=np.float32)).tolist()
        return self.model([text for (text,) in data]).tolist()

    def serialize(self, data: list) -> bytes:
        return encode(
            {
                "model_name": asked.task,
                "outputs": [{"name": "y", "datatype": "FP32", "shape": [1, len(data)], "data": data}],
            }
        )


if __name__ == "__main__":
    # mosec reads its own options from the command line.
    sys.argv = [sys.argv[0], "--address", "127.0.0.1", "--port", str(asked.port), "--log-level", "error"]
    server = Server()
    server.append_worker(
        Model,
        num=1,
        max_batch_size=asked.max_batch,
        max_wait_time=max(1, round(asked.max_wait_ms)),
        route=f"/v2/models/{asked.task}/infer",
    )
    server.run()
