"""The model inside MLServer: one request, or several put together by its adaptive batching."""

import compute
from mlserver import MLModel
from mlserver.codecs import NumpyCodec, StringCodec
from mlserver.types import InferenceRequest, InferenceResponse


class Runtime(MLModel):
    async def load(self) -> bool:
        self.model = compute.load(self.name, self.settings.parameters.uri)
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        tensor = payload.inputs[0]
        if self.name == "mlp":
            found = self.model(NumpyCodec.decode_input(tensor).astype("float32", copy=False))
        else:
            found = self.model(StringCodec.decode_input(tensor))
        return InferenceResponse(model_name=self.name, outputs=[NumpyCodec.encode_output("output", found)])
