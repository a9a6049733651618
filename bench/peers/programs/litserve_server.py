"""LitServe: one worker process, dynamic batches, V2's JSON."""

import arguments
import compute
import litserve as ls

asked = arguments.read()


class Model(ls.LitAPI):
    def setup(self, device) -> None:
        self.model = compute.load(asked.task, asked.model)

    def decode_request(self, request: dict):
        return request["inputs"][0]["data"]

    def batch(self, inputs: list) -> list:
        return inputs

    def predict(self, batch: list) -> list:
        return compute.together(asked.task, self.model, batch)

    def unbatch(self, output: list) -> list:
        return output

    def encode_response(self, output: list) -> dict:
        return compute.v2_answer(asked.task, output)


if __name__ == "__main__":
    api = Model(
        max_batch_size=asked.max_batch,
        batch_timeout=asked.max_wait_ms / 1e3,
        api_path=f"/v2/models/{asked.task}/infer",
    )
    server = ls.LitServer(api, accelerator="cpu", workers_per_device=1, timeout=60)
    server.run(
        host="127.0.0.1", port=asked.port, generate_client_file=False, log_level="error", access_log=False
    )
