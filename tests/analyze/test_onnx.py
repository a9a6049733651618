"""ONNX graphs, built with the real onnx package."""

import numpy
import onnx
import pytest
from onnx import TensorProto, helper

from modelyard.analyze import analyze
from modelyard.core.errors import RejectedContent


def test_a_dynamic_first_axis_is_the_batch(files_of, onnx_bytes):
    signature = analyze(files_of({"m.onnx": onnx_bytes})).signature
    assert signature.batched
    assert signature.max_batch is None
    assert (signature.inputs[0].name, signature.inputs[0].datatype, signature.inputs[0].shape) == (
        "x",
        "FP32",
        (4,),
    )
    assert signature.outputs[0].shape == (3,)


def test_parameters_weights_and_facts_are_counted(files_of, onnx_bytes):
    analysis = analyze(files_of({"m.onnx": onnx_bytes}))
    assert analysis.parameters == 12
    assert analysis.memory_bytes.low == 48
    assert analysis.details["opset"] == "ai.onnx 17"
    assert analysis.details["operators"] == "MatMul 1"
    assert analysis.details["precision"] == "float32"
    assert analysis.options["file"] == "m.onnx"
    assert analysis.executes == "no"


def test_first_axes_of_exactly_one_are_a_batch_of_one(files_of, make_onnx):
    model = make_onnx({"x": [1, 4]}, {"y": [1, 3]})
    signature = analyze(files_of({"m.onnx": model.SerializeToString()})).signature
    assert signature.batched
    assert signature.max_batch == 1
    assert signature.inputs[0].shape == (4,)


def test_a_state_with_its_batch_elsewhere_makes_the_model_unbatched(files_of, make_onnx):
    model = make_onnx({"x": ["batch", 4], "state": [2, "batch", 128]})
    signature = analyze(files_of({"m.onnx": model.SerializeToString()})).signature
    assert not signature.batched
    assert signature.inputs[0].shape == (-1, 4)
    assert signature.inputs[1].shape == (2, -1, 128)


def test_inputs_with_different_symbols_are_not_batched(files_of, make_onnx):
    model = make_onnx({"x": ["rows", 4], "z": ["others", 4]})
    assert not analyze(files_of({"m.onnx": model.SerializeToString()})).signature.batched


def test_an_output_may_have_another_symbol(files_of, make_onnx):
    model = make_onnx({"x": ["unk__1", 4]}, {"y": ["unk__2", 3]})
    assert analyze(files_of({"m.onnx": model.SerializeToString()})).signature.batched


def test_initializers_listed_as_inputs_are_not_inputs(files_of, make_onnx):
    model = make_onnx({"x": ["b", 4], "w": [4, 3]})
    signature = analyze(files_of({"m.onnx": model.SerializeToString()})).signature
    assert [spec.name for spec in signature.inputs] == ["x"]


def test_bfloat16_is_refused_by_the_name_of_the_input(files_of, make_onnx):
    model = make_onnx(element=TensorProto.BFLOAT16)
    with pytest.raises(RejectedContent, match="'x' is of bfloat16") as caught:
        analyze(files_of({"m.onnx": model.SerializeToString()}))
    assert caught.value.field == "inputs.x"


def test_a_zipmap_is_told_how_to_leave_it_out(files_of, make_onnx):
    model = make_onnx()
    mapping = helper.make_map_type_proto(
        TensorProto.INT64, helper.make_tensor_type_proto(TensorProto.FLOAT, [])
    )
    model.graph.output.append(
        helper.make_value_info("probabilities", helper.make_sequence_type_proto(mapping))
    )
    with pytest.raises(RejectedContent, match="zipmap=False"):
        analyze(files_of({"m.onnx": model.SerializeToString()}))


def test_a_custom_operator_is_named(files_of, make_onnx):
    model = make_onnx(domain="acme")
    with pytest.raises(RejectedContent, match="custom operator 'MatMul' of 'acme'"):
        analyze(files_of({"m.onnx": model.SerializeToString()}))


def test_weights_inside_branches_are_counted(files_of, make_onnx):
    model = make_onnx()
    branch = helper.make_graph(
        [helper.make_node("Identity", ["v"], ["out"])],
        "branch",
        [],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, [5])],
        [onnx.numpy_helper.from_array(numpy.ones(5, "float32"), "v")],
    )
    model.graph.node.append(helper.make_node("If", ["c"], ["o"], then_branch=branch, else_branch=branch))
    analysis = analyze(files_of({"m.onnx": model.SerializeToString()}))
    assert analysis.parameters == 12 + 10
    assert analysis.details["nodes"] == "4"


@pytest.fixture
def external(make_onnx) -> bytes:
    model = make_onnx()
    onnx.external_data_helper.set_external_data(
        model.graph.initializer[0], "weights.bin", offset=0, length=48
    )
    model.graph.initializer[0].data_location = TensorProto.EXTERNAL
    model.graph.initializer[0].ClearField("raw_data")
    return model.SerializeToString()


def test_external_data_is_counted(files_of, external):
    analysis = analyze(files_of({"m.onnx": external, "weights.bin": bytes(48)}))
    assert analysis.size_bytes == len(external) + 48
    assert analysis.details["external data"] == "weights.bin"


def test_missing_external_data_is_named(files_of, external):
    with pytest.raises(RejectedContent, match=r"'weights\.bin', which is missing") as caught:
        analyze(files_of({"m.onnx": external}))
    assert caught.value.field == "weights.bin"


def test_short_external_data_is_told_with_both_lengths(files_of, external):
    with pytest.raises(RejectedContent, match=r"at least 48 bytes.*it has 40"):
        analyze(files_of({"m.onnx": external, "weights.bin": bytes(40)}))


@pytest.mark.parametrize("location", ["../weights.bin", "/etc/passwd", "a/../../b", ""])
def test_external_data_outside_of_the_folder_is_refused(files_of, make_onnx, location):
    model = make_onnx()
    onnx.external_data_helper.set_external_data(model.graph.initializer[0], location)
    model.graph.initializer[0].data_location = TensorProto.EXTERNAL
    with pytest.raises(RejectedContent, match="not a place inside"):
        analyze(files_of({"m.onnx": model.SerializeToString()}))


class SparseFiles:
    """A file of 100 GB of which only the ends exist: what is between must not be read."""

    def __init__(self, head: bytes, length: int, tail: bytes) -> None:
        self._head, self._tail = head, tail
        self._total = len(head) + length + len(tail)
        self.bytes_read = 0
        self.paths = ["m.onnx"]

    def size(self, path: str) -> int:
        return self._total

    def read(self, path: str, offset: int = 0, length: int | None = None) -> bytes:
        end = self._total if length is None else min(self._total, offset + length)
        self.bytes_read += end - offset
        assert end - offset <= 1 << 20, "a read is not bounded"
        tail_at = self._total - len(self._tail)
        data = self._head[offset:end]
        zeros_end = min(end, tail_at)
        data += bytes(max(0, zeros_end - offset - len(data)))
        return data + self._tail[max(0, offset - tail_at) : max(0, end - tail_at)]


def _varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def test_a_model_of_100_gb_is_described_from_its_headers_alone(make_onnx):
    model = make_onnx()
    size = 100 * 10**9
    name = b"\x42\x03big"
    dims, kind = b"\x08" + _varint(size // 4), b"\x10\x01"
    tensor_head = dims + kind + name + b"\x4a" + _varint(size)
    tensor = b"\x2a" + _varint(len(tensor_head) + size) + tensor_head
    rest = model.graph.SerializeToString()
    graph_key = b"\x3a" + _varint(len(tensor) + size + len(rest))
    model.ClearField("graph")
    files = SparseFiles(graph_key + tensor, size, rest + model.SerializeToString())
    analysis = analyze(files)
    assert analysis.parameters == size // 4 + 12
    assert files.bytes_read < 1 << 20


def test_data_that_does_not_fit_its_shape_is_corrupt(files_of, make_onnx):
    model = make_onnx()
    model.graph.initializer[0].raw_data = bytes(44)
    with pytest.raises(RejectedContent, match="44 bytes of data, and its shape asks for 48"):
        analyze(files_of({"m.onnx": model.SerializeToString()}))


@pytest.mark.parametrize("dims", [[-1], [2**40, 2**40], [2**62]])
def test_impossible_shapes_are_refused(files_of, make_onnx, dims):
    model = make_onnx()
    model.graph.initializer[0].ClearField("dims")
    model.graph.initializer[0].dims.extend(dims)
    model.graph.initializer[0].ClearField("raw_data")
    with pytest.raises(RejectedContent):
        analyze(files_of({"m.onnx": model.SerializeToString()}))


def test_deeply_nested_graphs_are_refused(files_of, make_onnx):
    content = b""
    for _ in range(200):
        attribute = b"\x32" + _varint(len(content)) + content
        node = b"\x2a" + _varint(len(attribute)) + attribute
        content = b"\x0a" + _varint(len(node)) + node
    content = b"\x08\x08\x3a" + _varint(len(content)) + content
    with pytest.raises(RejectedContent, match="nested deeper"):
        analyze(files_of({"m.onnx": content}))


def test_a_graph_without_inputs_is_refused(files_of, make_onnx):
    with pytest.raises(RejectedContent, match="no inputs"):
        analyze(files_of({"m.onnx": make_onnx(inputs={}).SerializeToString()}))
