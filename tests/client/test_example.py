"""Examples made from signatures."""

import json
import shlex

from modelyard.client.example import curl_line, example_record
from modelyard.core.signature import Signature, TensorSpec


def test_each_input_that_must_be_given_has_a_value_of_its_shape() -> None:
    signature = Signature(
        inputs=(
            TensorSpec(name="image", datatype="FP32", shape=(2, -1)),
            TensorSpec(name="text", datatype="BYTES", kind="text"),
            TensorSpec(name="flag", datatype="BOOL"),
            TensorSpec(name="more", datatype="INT64", optional=True),
        )
    )
    record = example_record(signature)
    assert record == {"image": [[0.0], [0.0]], "text": "A sentence.", "flag": False}


def test_a_curl_line_survives_the_shell() -> None:
    record = {"text": 'it\'s a "test" $HOME'}
    words = shlex.split(curl_line("http://127.0.0.1:1/models/x/predict", record))
    assert json.loads(words[words.index("-d") + 1]) == record


def test_a_long_record_is_read_from_a_file() -> None:
    assert curl_line("http://x", {"x": [0.0] * 1000}).endswith("@record.json")
