"""A device that takes a stated time (the adapter `simulated`), and texts of stated lengths for it."""

import json
from pathlib import Path

from bench.load.question import Question, post
from modelyard.core.deployment import ServingOptions
from modelyard.core.routes import Pool

PATH = "/v2/models/simulated/infer"


def pool(
    folder: Path,
    *,
    law: dict[str, float],
    replicas: int = 1,
    serving: ServingOptions | None = None,
    **options: object,
) -> Pool:
    """A pool of ``replicas`` such devices that answer every text with itself."""
    from support.models import simulated_pool

    told = {"output": "echo", **options}
    return simulated_pool(folder / "simulated", law=law, replicas=replicas, serving=serving, **told)


def text_of(index: int, length: int, mark: str = "") -> str:
    """A text of ``length`` bytes that no other index has, so that a swapped answer is seen."""
    start = f"{mark}#{index}#"
    return start + "x" * (length - len(start))


def question(
    index: int, length: int, *, mark: str = "", headers: dict[str, str] | None = None, **more
) -> Question:
    """One call with one text; ``more`` goes to Question. Right is the answer with that very text."""
    text = text_of(index, length, mark)
    wanted = f'"{text}"'.encode()
    body = json.dumps(
        {"inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": [text]}]}
    ).encode()
    if more.get("expects", 200) != 200:
        return Question(post(PATH, body, headers), lambda _: True, **more)
    return Question(post(PATH, body, headers), lambda answer: wanted in answer, **more)
