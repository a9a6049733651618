"""A device that takes a stated time (the adapter `simulated`), and texts of stated lengths for it."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from bench.load.question import Question, post, post_json
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
    body = v2_body(text)
    if more.get("expects", 200) != 200:
        return Question(post(PATH, body, headers), lambda _: True, **more)
    return Question(post(PATH, body, headers), lambda answer: wanted in answer, **more)


def v2_body(text: str) -> bytes:
    """The V2 JSON of one text."""
    return json.dumps(
        {"inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": [text]}]}
    ).encode()


def batch_question(start: int, lengths: Sequence[int]) -> Question:
    """One call of the native batch endpoint with many texts; right when all came back, in order."""
    texts = [text_of(start + at, length) for at, length in enumerate(lengths)]
    body = post_json("/models/simulated/predict/batch", {"text": texts})

    def right(answer: bytes) -> bool:
        return _texts(json.loads(answer)) == texts

    return Question(body, right, weight=float(len(texts)))


def _texts(answer: object) -> list[str]:
    """The texts of a batch's answer, in whichever order they are said."""
    found: list[str] = []
    if isinstance(answer, str):
        found.append(answer)
    elif isinstance(answer, list):
        for each in answer:
            found += _texts(each)
    elif isinstance(answer, dict):
        for each in answer.values():
            found += _texts(each)
    return [text for text in found if "#" in text]


def seconds_of(law: dict[str, float]) -> Callable[[Sequence[int]], float]:
    """How long a batch of these lengths takes by ``law``."""

    def seconds(batch: Sequence[int]) -> float:
        longest = max(batch)
        return (
            law.get("fixed_ms", 0.0) / 1e3
            + law.get("per_padded_us", 0.0) / 1e6 * len(batch) * longest
            + law.get("per_square_us", 0.0) / 1e6 * len(batch) * longest * longest
        )

    return seconds
