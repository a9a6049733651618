"""The model inside Triton's Python backend: a batch of requests is one run."""

import json

import compute
import numpy as np
import triton_python_backend_utils as utils


class TritonPythonModel:
    def initialize(self, args):
        parameters = json.loads(args["model_config"])["parameters"]
        self.task = parameters["task"]["string_value"]
        self.model = compute.load(self.task, parameters["model"]["string_value"])

    def execute(self, requests):
        if self.task == "mlp":
            rows = [utils.get_input_tensor_by_name(request, "x").as_numpy() for request in requests]
            answers = self.model(rows[0] if len(rows) == 1 else np.concatenate(rows))
            name = "y"
        else:
            inputs = [utils.get_input_tensor_by_name(request, "text").as_numpy() for request in requests]
            rows = [[text.decode() for text in array.reshape(-1)] for array in inputs]
            answers = self.model([text for texts in rows for text in texts])
            name = "embedding"
        responses, start = [], 0
        for own in rows:
            end = start + len(own)
            responses.append(utils.InferenceResponse([utils.Tensor(name, answers[start:end])]))
            start = end
        return responses
