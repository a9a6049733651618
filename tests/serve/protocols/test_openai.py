"""OpenAI's embeddings, without its client (that one is in tests/system)."""

import base64

import numpy as np
import pytest

from support.node import NodeProcess


def test_texts_become_vectors_in_order(many: NodeProcess) -> None:
    status, answer = many.post(
        "/v1/embeddings", {"model": "embed", "input": ["banana", "b"], "user": "me", "dimensions": 4}
    )
    assert (status, answer["object"], answer["model"]) == (200, "list", "embed")
    assert [each["embedding"] for each in answer["data"]] == [[6.0, 3.0, 0.5, -1.0], [1.0, 0.0, 0.5, -1.0]]
    assert [each["index"] for each in answer["data"]] == [0, 1]
    assert answer["usage"]["total_tokens"] == 0 and answer["usage"]["reason"]
    status, answer = many.post(
        "/v1/embeddings", {"model": "embed", "input": "a", "encoding_format": "base64"}
    )
    packed = base64.b64decode(answer["data"][0]["embedding"])
    assert np.frombuffer(packed, "<f4").tolist() == [1.0, 1.0, 0.5, -1.0]


@pytest.mark.parametrize(
    ("changes", "status", "param"),
    [
        ({"input": [1, 2]}, 400, "input"),
        ({"input": [[1, 2]]}, 400, "input"),
        ({"input": []}, 400, "input"),
        ({"input": None}, 400, "input[0]"),
        ({"input": [True]}, 400, "input[0]"),
        ({"input": ["a"] * 2049}, 400, "input"),
        ({"dimensions": 3}, 400, "dimensions"),
        ({"encoding_format": "int8"}, 400, "encoding_format"),
        ({"colour": 1}, 400, "body"),
        ({"model": "mlp"}, 400, "model"),
        ({"model": "nobody"}, 404, "model"),
    ],
)
def test_errors_have_openais_shape(many: NodeProcess, changes: dict, status: int, param: str) -> None:
    answered, answer = many.post("/v1/embeddings", {"model": "embed", "input": "a", **changes})
    error = answer["error"]
    assert (answered, error["param"]) == (status, param), answer
    assert error["message"] and error["type"].endswith("_error") and error["code"]
