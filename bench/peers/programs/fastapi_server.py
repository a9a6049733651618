"""FastAPI on uvicorn (uvloop, httptools), ONNX Runtime in the server's own process, no batches."""

import arguments
import compute
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
    return compute.v2_answer(asked.task, compute.together(asked.task, model, [body.inputs[0].data])[0])


uvicorn.run(
    app, host="127.0.0.1", port=asked.port, loop="uvloop", http="httptools", access_log=False,
    log_level="warning",
)  # fmt: skip
