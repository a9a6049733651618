"""mosec: one worker process, dynamic batches; V2's JSON, read by msgspec (its own choice is the slower json)."""

import sys

import arguments
import compute
import msgspec
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
        return compute.together(asked.task, self.model, data)

    def serialize(self, data: list) -> bytes:
        return encode(compute.v2_answer(asked.task, data))


if __name__ == "__main__":
    # mosec reads its own options from the command line.
    sys.argv = [sys.argv[0], "--address", "127.0.0.1", "--port", str(asked.port), "--log-level", "error"]
    sys.argv += ["--timeout", "60000"]
    server = Server()
    server.append_worker(
        Model,
        num=1,
        max_batch_size=asked.max_batch,
        max_wait_time=max(1, round(asked.max_wait_ms)),
        route=f"/v2/models/{asked.task}/infer",
    )
    server.run()
