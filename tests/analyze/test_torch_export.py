"""Programs of torch.export are told by their JSON, and asked about where loading them would run more than arithmetic."""

import json
from typing import Any

import pytest

from modelyard.analyze import analyze
from modelyard.core.errors import RejectedContent
from support.model_files import exported, program, sample_inputs, zipped


def changed(**graph: Any) -> bytes:
    """A program with other parts of its graph."""
    told = program()
    told["graph_module"]["graph"].update(graph)
    return exported(told)


def test_a_program_says_what_it_takes_and_gives(files_of) -> None:
    found = analyze(files_of({"any.pt2": exported()}))
    assert (found.format, found.adapter, found.executes, found.parameters) == (
        "torch-export",
        "torch_export",
        "no",
        12,
    )
    signature = found.signature
    assert signature is not None
    assert [(each.name, each.datatype, each.shape) for each in signature.inputs] == [
        ("x", "FP32", (4,)),
        ("mask", "INT64", (-1,)),
    ]
    assert [(each.name, each.shape) for each in signature.outputs] == [("y", (3,)), ("p", (3,))]
    assert (signature.batched, signature.max_batch) == (True, 64)
    assert signature.inputs[1].description == "axis 0: 4 to 100"
    assert found.options["ranges"] == {"mask": [[0, 4, 100]]}
    assert found.example == {"x": [0.0] * 4, "mask": [0] * 4}


def test_the_form_before_pytorch_2_8(files_of) -> None:
    members = {"version": "8.1", "serialized_exported_program.json": json.dumps(program()),
               "serialized_state_dict.pt": sample_inputs()}  # fmt: skip
    found = analyze(files_of({"m.pt2": zipped(members)}))
    assert (found.executes, found.details["form"]) == ("no", "before PyTorch 2.8")
    both = zipped(members | {"a/models/model.json": "{}"})
    with pytest.raises(RejectedContent, match="folders inside"):
        analyze(files_of({"m.pt2": both}))


def test_weights_that_are_a_pickle_are_looked_into(files_of) -> None:
    good = exported(beside={"data/weights/model.pt": sample_inputs()})
    assert analyze(files_of({"m.pt2": good})).executes == "no"
    other = exported(beside={"data/weights/model.pt": sample_inputs(b"\x80\x02cmine\nf\n)R.")})
    assert "mine.f (in data/weights/model.pt)" in analyze(files_of({"m.pt2": other})).because


@pytest.mark.parametrize(
    ("sizes", "batched", "most", "shape"),
    [
        ([{"as_int": 1}, {"as_int": 4}], True, 1, (4,)),
        ([{"as_int": 2}, {"as_int": 4}], False, None, (2, 4)),
    ],
)
def test_an_axis_that_is_fixed_is_served_as_it_is(files_of, sizes, batched, most, shape) -> None:
    told = program()
    values = told["graph_module"]["graph"]["tensor_values"]
    for name in ("x", "mask", "linear"):
        values[name]["sizes"] = sizes
    signature = analyze(files_of({"m.pt2": exported(told)})).signature
    assert signature is not None
    assert (signature.batched, signature.max_batch, signature.inputs[0].shape) == (batched, most, shape)


def test_outputs_with_another_first_axis_are_not_rows(files_of) -> None:
    told = program()
    values = told["graph_module"]["graph"]["tensor_values"]
    values["linear"]["sizes"] = [
        {"as_expr": {"expr_str": "Mul(Integer(2), Symbol('s0', positive=True, integer=True))"}}
    ]
    signature = analyze(files_of({"m.pt2": exported(told)})).signature
    assert signature is not None and not signature.batched
    assert signature.inputs[0].shape == (-1, 4)


NODE = {"inputs": [], "outputs": [], "metadata": {}}


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (changed(nodes=[{**NODE, "target": "torch.hub.load"}]), "the operator 'torch.hub.load'"),
        (changed(nodes=[{**NODE, "target": "torch.ops.aten.from_file.default"}]), "from_file"),
        (changed(nodes=[{**NODE, "target": "_operator.methodcaller"}]), "methodcaller"),
        (changed(nodes=[{**NODE, "target": "torch.ops.mine.op.default"}]), "torch.ops.mine"),
        (changed(nodes=[{**NODE, "target": "torch.ops.aten.add.Tensor", "as_operator": "torch.load"}]), "torch.load"),
        (changed(nodes=[], extra=[{"as_graph": {"graph": {"nodes": [{"target": "torch.save"}]}}}]), "torch.save"),
        (changed(nodes=[{**NODE, "name": "x); import os; (", "target": "math.ceil"}]), "the name"),
        (changed(custom_obj_values={"a": {}}), "class of its own"),
        (exported(program(guards_code=["__import__('os').system('true') == 0"])), "the condition"),
        (exported(program(guards_code=["L['x'].__class__ == 3"])), "the condition"),
        (exported(program(guards_code=['L[\'x"); print(1); ("\'] == 3'])), "the condition"),
        (exported(program(range_constraints={"print(1)": {"min_val": 0, "max_val": 1}})), "the expression"),
        (exported(beside={"data/sample_inputs/model.pt": sample_inputs(b"\x80\x02cmine\nf\n)R.")}), "mine.f"),
        (exported(beside={"data/aotinductor/model/a.so": b"\x7fELF"}), "a.so"),
        (exported(beside={"data/constants/opaque_obj_0": b"\x80\x02."}), "opaque_obj_0"),
        (
            exported(beside={"data/weights/model_weights_config.json": '{"config": {"w": {"use_pickle": true, "path_name": "weight_0"}}}'}),
            "the pickle 'weight_0'",
        ),
    ],
)  # fmt: skip
def test_what_would_run_more_than_arithmetic_needs_trust(files_of, data: bytes, what: str) -> None:
    found = analyze(files_of({"m.pt2": data}))
    assert found.executes == "code"
    assert what in found.because


@pytest.mark.parametrize(
    "text",
    ["(lambda: 1)()", "[x for x in (1,)]", "Symbol('s0').free_symbols", "s0 if s1 else s2", "f'{s0}'", "Symbol('a b')", "print(s0)"],
)  # fmt: skip
def test_sizes_are_arithmetic_alone(files_of, text: str) -> None:
    told = program()
    told["graph_module"]["graph"]["tensor_values"]["mask"]["sizes"][1] = {"as_expr": {"expr_str": text}}
    assert "the expression" in analyze(files_of({"m.pt2": exported(told)})).because


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "an empty file"),
        (b"\x08\x08 not a zip", "no zip|text"),
        (exported()[:-30], "cannot be read|truncated"),
        (exported() + b"PK", "zip|behind"),
        (exported(b"{"), "not valid JSON"),
        (exported(b"[" * 100_000), "not valid JSON"),
        (exported(b"[]"), "cannot be read"),
        (exported(program(schema_version={"major": 99, "minor": 0})), "form 99"),
        (exported(beside={"models/other.json": "{}"}), "2 programs"),
        (zipped({"m/data/aotinductor/model/a.so": b"x"}), "AOTInductor"),
        (zipped({"m/constants.pkl": b"x", "m/data.pkl": b""}), "TorchScript; name it .pt"),
        (zipped({"m/models/model.json": "{}", "n/x": "y"}), "one folder"),
        (zipped({"m/models/model.json": "{}", "m/Models/model.json": "{}"}), "case"),
        (
            exported(beside={"data/sample_inputs/model.pt": sample_inputs(b"\x80\x02cos\nsystem\n)R.")}),
            "os.system",
        ),
    ],
)
def test_what_is_no_program_is_told(files_of, data: bytes, why: str) -> None:
    with pytest.raises(RejectedContent, match=why) as caught:
        analyze(files_of({"m.pt2": data}))
    assert caught.value.field == "m.pt2"


def test_a_second_directory_is_not_believed(files_of) -> None:
    """Python's reader takes a zip that something lies before; PyTorch's goes to the offsets that it tells."""
    with pytest.raises(RejectedContent, match="not where it says"):
        analyze(files_of({"m.pt2": b"PK\x03\x04" + bytes(60) + exported()}))


def test_a_type_of_a_package_is_told(files_of) -> None:
    told = program()
    leaf = {"type": None, "context": None, "children_spec": []}
    spec = [1, {"type": "transformers.Output", "context": "[]", "children_spec": [leaf, leaf]}]
    told["graph_module"]["module_call_graph"][0]["signature"]["out_spec"] = json.dumps(spec)
    with pytest.raises(RejectedContent, match=r"transformers\.Output, which PyTorch alone"):
        analyze(files_of({"m.pt2": exported(told)}))
