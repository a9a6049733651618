"""A service for ESM-2 as the README of ESM2_MultiGPU_Inference describes its own.

FastAPI and transformers; single calls wait up to 50 ms for others and go as one batch of at most 64;
a batch is cut into contiguous chunks, one per device, each padded to its longest and computed by a
thread of a pool. Here there is one device: the CPU, one thread.

Source: https://github.com/AndrewFoudree/ESM2_MultiGPU_Inference
"""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import arguments
import torch
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from transformers import EsmModel, EsmTokenizer

asked = arguments.read()
torch.set_num_threads(1)
DEVICES = ["cpu"]
MAX_WAIT, MAX_SIZE = 0.050, 64
tokenizer = EsmTokenizer(str(asked.model / "vocab.txt"))
model = EsmModel.from_pretrained(asked.model, add_pooling_layer=False).eval()
threads = ThreadPoolExecutor(len(DEVICES))
app = FastAPI()


class Single(BaseModel):
    sequence: str
    include_embeddings: bool = False


class Batch(BaseModel):
    sequences: list[str]
    include_embeddings: bool = False


def run_inference(sequences: list[str]) -> list[list[float]]:
    """One padded batch; the mean over the residues of each."""
    told = tokenizer(sequences, return_tensors="pt", padding=True)
    with torch.inference_mode():
        hidden = model(**told).last_hidden_state
    return [hidden[row, 1 : 1 + len(text)].mean(0).tolist() for row, text in enumerate(sequences)]


def distribute(count: int, devices: int) -> list[range]:
    """Contiguous chunks; the first ones get what does not divide."""
    base, more = divmod(count, devices)
    chunks, start = [], 0
    for index in range(devices):
        size = base + (index < more)
        if size:
            chunks.append(range(start, start + size))
        start += size
    return chunks


async def predict_batch(sequences: list[str]) -> list[list[float]]:
    loop = asyncio.get_running_loop()
    chunks = distribute(len(sequences), len(DEVICES))
    tasks = [
        loop.run_in_executor(threads, run_inference, [sequences[index] for index in chunk])
        for chunk in chunks
    ]
    return [one for found in await asyncio.gather(*tasks) for one in found]


queue: asyncio.Queue = asyncio.Queue()


async def batches() -> None:
    """The batch queue: the first call opens a window, which ends by time or by number."""
    loop = asyncio.get_running_loop()
    while True:
        waiting = [await queue.get()]
        end = loop.time() + MAX_WAIT
        while len(waiting) < MAX_SIZE and (left := end - loop.time()) > 0:
            try:
                waiting.append(await asyncio.wait_for(queue.get(), left))
            except TimeoutError:
                break
        try:
            found = await predict_batch([sequence for sequence, _ in waiting])
        except Exception as error:
            for _, future in waiting:
                future.set_exception(error)
        else:
            for (_, future), one in zip(waiting, found, strict=True):
                if not future.done():
                    future.set_result(one)


def answer(sequence: str, embedding: list[float], wanted: bool) -> dict:
    told = {"length": len(sequence)}
    return {**told, "embedding": embedding} if wanted else told


@app.on_event("startup")
async def start() -> None:
    app.state.batches = asyncio.create_task(batches())


@app.post("/predict")
async def predict(body: Single) -> dict:
    future = asyncio.get_running_loop().create_future()
    await queue.put((body.sequence, future))
    return answer(body.sequence, await future, body.include_embeddings)


@app.post("/predict/batch")
async def predict_many(body: Batch) -> dict:
    found = await predict_batch(body.sequences)
    pairs = zip(body.sequences, found, strict=True)
    return {"results": [answer(sequence, one, body.include_embeddings) for sequence, one in pairs]}


uvicorn.run(app, host="127.0.0.1", port=asked.port, log_level="warning", access_log=False)
