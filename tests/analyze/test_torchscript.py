"""TorchScript is told by the text of its code; what that does not say is asked, with the form of the answer."""

import time

import pytest

from modelyard.analyze import analyze
from modelyard.analyze.torchscript_code import forward_of
from modelyard.core.errors import RejectedContent
from support.model_files import sample_inputs, torchscript, traced_inputs, zipped

YAML = (
    b"signature:\n  inputs:\n    - {name: x, datatype: FP32, shape: [4]}\n"
    b"  outputs:\n    - {name: y, datatype: FP32, shape: [3]}\n"
)


def test_a_traced_model_says_what_it_was_traced_with(files_of) -> None:
    found = analyze(files_of({"any.pth": torchscript(traced=traced_inputs())}))
    assert (found.format, found.adapter, found.executes, found.signature) == (
        "torchscript",
        "torchscript",
        "no",
        None,
    )
    assert found.options["traced"] == [["FP32", [2, 4]], ["INT64", [2]]]
    assert found.options["arguments"] == [["x", "Tensor", False], ["ids", "Tensor", False]]
    assert found.details["made by"] == "tracing"


def test_a_scripted_model_is_asked_for_its_shapes(files_of) -> None:
    with pytest.raises(RejectedContent) as caught:
        analyze(files_of({"model.pt": torchscript()}))
    message = caught.value.message
    assert "(x: Tensor, ids: Tensor) -> Tuple[Tensor, Tensor]" in message
    assert "- {name: ids, datatype: FP32, shape: [-1]}" in message
    assert "- {name: output_1," in message
    assert caught.value.field == "model.pt"


def test_numbers_of_forward_are_parameters(files_of) -> None:
    model = torchscript(
        "x: Tensor,\n    scale: float=1.5,\n    n: int,\n    mask: Optional[Tensor]=None) -> Tensor"
    )
    # A default before an argument without one is no Python.
    with pytest.raises(RejectedContent, match="no method forward"):
        analyze(files_of({"m.pt": model, "model.yaml": YAML}))
    model = torchscript(
        "x: Tensor,\n    n: int,\n    scale: float=1.5,\n    mask: Optional[Tensor]=None) -> Tensor"
    )
    found = analyze(files_of({"m.pt": model, "model.yaml": YAML}))
    assert found.signature is not None
    assert [(each.name, each.type, each.default) for each in found.signature.parameters] == [
        ("n", "int", None),
        ("scale", "float", 1.5),
    ]
    assert found.signature.batched
    with_mask = YAML.replace(b"  outputs", b"    - {name: mask, datatype: FP32, shape: [4]}\n  outputs")
    signature = analyze(files_of({"m.pt": model, "model.yaml": with_mask})).signature
    assert signature is not None
    assert [(each.name, each.optional) for each in signature.inputs] == [("x", False), ("mask", True)]


@pytest.mark.parametrize(
    ("yaml", "why"),
    [
        (YAML.replace(b"name: x", b"name: z"), "inputs are z; forward of m.pt takes x"),
        (YAML.split(b"  outputs")[0], "signature.outputs must name what forward of m.pt gives"),
    ],
)
def test_what_model_yaml_says_is_held_against_the_code(files_of, yaml: bytes, why: str) -> None:
    with pytest.raises(RejectedContent, match=why):
        analyze(files_of({"m.pt": torchscript("x: Tensor) -> Tensor"), "model.yaml": yaml}))


@pytest.mark.parametrize(
    ("body", "what"),
    [
        ("    torch.save(x, 'y')\n    return x\n", "'save'"),
        ("    return torch.from_file('/etc/passwd')\n", "'from_file'"),
        ("    return ops.torchvision.nms(x)\n", "operators of 'torchvision'"),
        ("    _0 = __torch__.torch.classes.mine.Box\n    return x\n", "operators of 'mine'"),
    ],
)
def test_code_that_reaches_for_more_needs_trust(files_of, body: str, what: str) -> None:
    found = analyze(files_of({"m.pt": torchscript(body=body, traced=traced_inputs())}))
    assert found.executes == "code"
    assert what in found.because


def test_all_code_is_looked_at(files_of) -> None:
    more = {"m/code/__torch__/other.py": "def f(x: Tensor) -> None:\n  torch . save(x, 'y')\n"}
    assert analyze(files_of({"m.pt": torchscript(traced=traced_inputs(), beside=more)})).executes == "code"


@pytest.mark.parametrize(
    ("forward", "why"),
    [
        ("x: List[Tensor]) -> Tensor", r"takes 'x' of the type List\[Tensor\]"),
        ("n: int) -> Tensor", "takes no tensor"),
        ("*x: Tensor) -> Tensor", "no method forward"),
        ("x: Tensor", "no method forward"),
    ],
)
def test_what_cannot_be_called_is_told(files_of, forward: str, why: str) -> None:
    with pytest.raises(RejectedContent, match=why):
        analyze(files_of({"m.pt": torchscript(forward)}))


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (torchscript()[:-40], "PyTorch checkpoint|zip directory"),
        (zipped({"m/constants.pkl": b"\x80\x02).", "m/data.pkl": b"\x80\x02}."}), "does not hold a module"),
        (
            zipped({"m/constants.pkl": b"\x80\x02).", "m/data.pkl": b"\x80\x02c__torch__\nM\n)\x81."}),
            "no code for its class",
        ),
        (zipped({"m/constants.pkl": b"\x80\x02)."}), "no data.pkl"),
        (torchscript(traced=b"\x80\x02cos\nsystem\n)R."), "os.system"),
        (torchscript(beside={"n/x": b""}), "one folder"),
    ],
)
def test_what_is_not_whole_is_told(files_of, data: bytes, why: str) -> None:
    with pytest.raises(RejectedContent, match=why) as caught:
        analyze(files_of({"m.pt": data}))
    assert caught.value.field == "m.pt"


def test_a_checkpoint_is_none(files_of) -> None:
    with pytest.raises(RejectedContent, match="a PyTorch checkpoint"):
        analyze(files_of({"m.pt": sample_inputs()}))


def test_the_header_of_the_right_class_is_read() -> None:
    text = (
        "class Other(Module):\n  def forward(self: __torch__.Other,\n    a: Tensor) -> Tensor:\n    return a\n"
        "class M(Module):\n  x : Tensor\n  def other(self: __torch__.M) -> int:\n    return 1\n"
        "  def forward(self: __torch__.M,\n    b: Tensor,\n    *,\n    c: Tensor) -> NoneType:\n    return None\n"
    )
    forward = forward_of(text, "M")
    assert forward is not None
    assert [each.name for each in forward.arguments] == ["b", "c"]
    assert forward_of(text, "N") is None


def test_a_text_of_headers_without_an_end_is_read_once() -> None:
    text = "class M(Module):\n" + "  def forward(self: __torch__.M,\n" * 500_000
    begin = time.thread_time()
    assert forward_of(text, "M") is None
    assert time.thread_time() - begin < 2
