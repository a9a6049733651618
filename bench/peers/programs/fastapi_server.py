"""FastAPI on uvicorn (uvloop, httptools), ONNX Runtime in the server's own process, no batches."""

import logging

import arguments
import compute
import numpy as np
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

asked = arguments.read()
model = compute.load(asked.task, asked.model)
app = FastAPI()
NUMBER_OR_TEXT = {"mlp": float, "texts": str}[asked.task]


class Tensor(BaseModel):
    name: str
    shape: list[int]
    datatype: str
    data: list[NUMBER_OR_TEXT]


class Body(BaseModel):
    inputs: list[Tensor]


@app.post(f"/v2/models/{asked.task}/infer")
async def infer(body: Body) -> dict:
    tensor = body.inputs[0]
    if asked.task == "mlp":
        output = model(np.array(tensor.data, dtype=np.float32).reshape(tensor.shape))
    else:
        output = model(tensor.data)
    data = output.ravel().tolist()
    return {
        "model_name": asked.task,
        "outputs": [{"name": "y", "datatype": "FP32", "shape": list(output.shape), "data": data}],
    }


logging.disable(logging.INFO)
uvicorn.run(app, host="127.0.0.1", port=asked.port, loop="uvloop", http="httptools", access_log=False)
