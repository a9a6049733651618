"""TensorFlow Lite models are told by their graph."""

import struct

import pytest

from modelyard.analyze import analyze
from modelyard.core.errors import RejectedContent
from support.model_files import tflite


def test_a_graph_says_what_it_takes_and_gives(files_of) -> None:
    found = analyze(files_of({"any.tflite": tflite()}))
    assert (found.format, found.adapter, found.executes) == ("tflite", "tflite", "no")
    signature = found.signature
    assert signature is not None
    assert [(each.name, each.datatype, each.shape) for each in signature.inputs] == [("x", "FP32", (4,))]
    assert [(each.name, each.shape) for each in signature.outputs] == [("y", (3,))]
    assert (signature.batched, signature.max_batch) == (True, None)
    assert signature.inputs[0].description == "quantized: value = 0.5 * (number - -3)"
    assert (found.options["inputs"], found.options["outputs"]) == ([0], [1])


def test_a_fixed_axis_and_tensors_own_names(files_of) -> None:
    found = analyze(files_of({"m.tflite": tflite(batch=1, kind=9, signature=False)}))
    assert found.signature is not None
    assert (found.signature.batched, found.signature.max_batch) == (True, 1)
    assert [(each.name, each.datatype) for each in found.signature.inputs] == [
        ("serving_default_x:0", "INT8")
    ]
    fixed = analyze(files_of({"m.tflite": tflite(batch=8)})).signature
    assert fixed is not None
    assert (fixed.batched, fixed.inputs[0].shape) == (False, (8, 4))


def test_weights_are_not_read(files_of) -> None:
    files = files_of({"m.tflite": tflite(buffer=bytes(4_000_000))})
    assert analyze(files).details["weights"] == "4.0 MB"
    assert files.bytes_read < 400_000


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (tflite(operator=(32, "FlexMatrixInverse")), "a Flex operator"),
        (tflite(operator=(32, "Mine")), "'Mine', which LiteRT does not have"),
        (tflite(kind=13), "number 13"),
        (tflite()[:-120], "truncated|corrupt"),
        (tflite(buffer=bytes(4000))[:-2000], "truncated"),
        (b"\x1c\0\0\0TFL3" + bytes(100), "corrupt|no graph"),
        (b"\xff\xff\xff\x7fTFL3" + bytes(100), "truncated"),
        (b"{}", "JSON"),
        (b"", "empty"),
    ],
)
def test_what_cannot_be_served_is_told(files_of, data: bytes, why: str) -> None:
    with pytest.raises(RejectedContent, match=why) as caught:
        analyze(files_of({"m.tflite": data}))
    assert caught.value.field == "m.tflite"


def test_a_buffer_that_leads_round_in_circles_ends(files_of) -> None:
    """A vector of tables that are all the same one, and as many as fit in 32 bits."""
    data = bytearray(tflite())
    place = data.index(struct.pack("<I", 2), 8)
    for position in range(place, len(data) - 4, 4):
        changed = bytearray(data)
        struct.pack_into("<I", changed, position, 0x3FFF_FFFF)
        try:
            analyze(files_of({"m.tflite": bytes(changed)}))
        except RejectedContent as error:
            assert error.field is not None
