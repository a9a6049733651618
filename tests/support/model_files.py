"""Small files of models as frameworks write them, made without the frameworks."""

import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

from support.wire_formats import Numbers, Scalar, flatbuffer, message


def zipped(members: Mapping[str, bytes | str], method: int = zipfile.ZIP_STORED) -> bytes:
    """A zip of these members."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


# --- PyTorch

FORWARD = "x: Tensor,\n    ids: Tensor) -> Tuple[Tensor, Tensor]"
TENSORS = (b"FloatStorage", (2, 4)), (b"LongStorage", (2,))


def _tensor_pickle(kind: bytes, shape: Sequence[int]) -> bytes:
    """A tensor as PyTorch's picklers write it."""
    lengths = b"(" + b"".join(b"K" + bytes([length]) for length in shape) + b"t"
    return (
        b"ctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\n" + kind + b"\nX\x01\0\0\x000X\x03\0\0\0cpuK\x08tQK\0"
        + lengths + lengths + b"\x89ccollections\nOrderedDict\n)RtR"
    )  # fmt: skip


def traced_inputs(tensors: Sequence[tuple[bytes, Sequence[int]]] = TENSORS) -> bytes:
    """``traced_inputs.pkl`` of an archive."""
    tag = b"ctorch.jit._pickle\nrestore_type_tag\n"
    inner = b"](" + b"".join(_tensor_pickle(*each) for each in tensors) + b"eX\x09\0\0\0List[Any]"
    return b"\x80\x02" + tag + b"}(X\x07\0\0\0forward" + tag + inner + b"\x86RuX\x01\0\0\0D\x86R."


def torchscript(
    forward: str = FORWARD,
    body: str = "    return (x, ids)\n",
    traced: bytes | None = None,
    beside: Mapping[str, bytes | str] | None = None,
) -> bytes:
    """An archive of ``torch.jit.save`` with the class M; ``beside`` are other members."""
    code = f"class M(Module):\n  __parameters__ = []\n  training : bool\n  def forward(self: __torch__.M,\n    {forward}:\n{body}"
    members: dict[str, bytes | str] = {
        "m/data.pkl": b"\x80\x02c__torch__\nM\n)\x81}(X\x08\0\0\0training\x89ub.",
        "m/code/__torch__.py": code,
        "m/constants.pkl": b"\x80\x02).",
        "m/version": "3\n",
    }
    if traced is not None:
        members["m/traced_inputs.pkl"] = traced
    return zipped(members | dict(beside or {}))


def _meta(*sizes: int | str, dtype: int = 7) -> dict[str, Any]:
    told = [
        {"as_int": size}
        if isinstance(size, int)
        else {
            "as_expr": {"expr_str": f"Symbol('{size}', positive=True, integer=True)", "hint": {"as_int": 2}}
        }
        for size in sizes
    ]
    return {"dtype": dtype, "sizes": told, "requires_grad": False, "device": {"type": "cpu", "index": None},
            "strides": told, "storage_offset": {"as_int": 0}, "layout": 7}  # fmt: skip


def program(**changed: Any) -> dict[str, Any]:
    """The JSON of a program with two inputs x [n, 4] and mask [n, s], and a dictionary of two outputs."""
    leaf = {"type": None, "context": None, "children_spec": []}
    arguments = {"type": "builtins.tuple", "context": "null", "children_spec": [leaf]}
    named = {"type": "builtins.dict", "context": '["mask"]', "children_spec": [leaf]}
    in_spec = [1, {"type": "builtins.tuple", "context": "null", "children_spec": [arguments, named]}]
    out_spec = [1, {"type": "builtins.dict", "context": '["y", "p"]', "children_spec": [leaf, leaf]}]
    nodes = [
        {"target": "torch.ops.aten.linear.default", "inputs": [{"name": "input", "arg": {"as_tensor": {"name": "x"}}}],
         "outputs": [{"as_tensor": {"name": "linear"}}], "metadata": {}},
    ]  # fmt: skip
    return {
        "graph_module": {
            "graph": {
                "inputs": [{"as_tensor": {"name": name}} for name in ("w", "x", "mask")],
                "outputs": [{"as_tensor": {"name": "linear"}}] * 2,
                "nodes": nodes,
                "tensor_values": {"w": _meta(3, 4), "x": _meta("s0", 4), "mask": _meta("s0", "s1", dtype=5),
                                  "linear": _meta("s0", 3)},
                "custom_obj_values": {},
            },
            "signature": {
                "input_specs": [
                    {"parameter": {"arg": {"name": "w"}, "parameter_name": "l.weight"}},
                    {"user_input": {"arg": {"as_tensor": {"name": "x"}}}},
                    {"user_input": {"arg": {"as_tensor": {"name": "mask"}}}},
                ],
                "output_specs": [{"user_output": {"arg": {"as_tensor": {"name": "linear"}}}}] * 2,
            },
            "module_call_graph": [
                {"fqn": "", "signature": {"in_spec": json.dumps(in_spec), "out_spec": json.dumps(out_spec),
                                          "forward_arg_names": ["x", "mask"]}},
            ],
        },
        "range_constraints": {"s0": {"min_val": 0, "max_val": 64}, "s1": {"min_val": 4, "max_val": 100}},
        "guards_code": ["L['mask'].size()[0] == L['x'].size()[0]"],
        "schema_version": {"major": 8, "minor": 20},
        "torch_version": "2.13.0",
        **changed,
    }  # fmt: skip


def sample_inputs(pickle: bytes = b"\x80\x02)}\x86.") -> bytes:
    """What ``torch.save`` writes into a program's archive."""
    return zipped({"archive/data.pkl": pickle, "archive/version": "3\n", "archive/byteorder": "little"})


def exported(
    told: Mapping[str, Any] | bytes | None = None, beside: Mapping[str, bytes | str] | None = None
) -> bytes:
    """An archive of ``torch.export.save`` with the program ``told``; ``beside`` are other members."""
    weights = {
        "l.weight": {"path_name": "weight_0", "is_param": True, "use_pickle": False, "tensor_meta": {}}
    }
    members: dict[str, bytes | str] = {
        "models/model.json": told
        if isinstance(told, bytes)
        else json.dumps(program() if told is None else told),
        "data/weights/model_weights_config.json": json.dumps({"config": weights}),
        "data/weights/weight_0": bytes(48),
        "data/constants/model_constants_config.json": '{"config": {}}',
        "data/sample_inputs/model.pt": sample_inputs(),
        "archive_format": "pt2",
        "archive_version": "0",
    }
    return zipped({f"m/{name}": content for name, content in (members | dict(beside or {})).items()})


# --- TensorFlow


def tflite(
    *,
    batch: int = -1,
    kind: int = 0,
    operator: tuple[int, str] = (9, ""),
    signature: bool = True,
    buffer: bytes = bytes(48),
) -> bytes:
    """A graph with the input x [batch, 4] and the output y [batch, 3]."""

    def tensor(name: str, width: int) -> dict[int, object]:
        held: dict[int, object] = {
            0: Numbers("i", [abs(batch), width]), 1: Scalar("b", kind), 2: Scalar("I", 1), 3: name,
            4: {2: Numbers("f", [0.5]), 3: Numbers("q", [-3])},
        }  # fmt: skip
        return held | ({7: Numbers("i", [-1, width])} if batch < 0 else {})

    told: dict[int, object] = {
        0: Scalar("I", 3),
        1: [{0: Scalar("b", min(operator[0], 127)), 1: operator[1], 3: Scalar("i", operator[0])}],
        2: [
            {
                0: [tensor("serving_default_x:0", 4), tensor("StatefulPartitionedCall:0", 3)],
                1: Numbers("i", [0]),
                2: Numbers("i", [1]),
                3: [{0: Scalar("I", 0)}],
            }
        ],
        3: "made for a test",
        4: [{}, {0: buffer}],
    }
    if signature:
        names = [{0: "x", 1: Scalar("I", 0)}], [{0: "y", 1: Scalar("I", 1)}]
        told[7] = [{0: names[0], 1: names[1], 2: "serving_default", 4: Scalar("I", 0)}]
    return flatbuffer(told, b"TFL3")


def saved_model(
    *,
    shape: Sequence[int] = (-1, 4),
    datatype: int = 1,
    operator: str = "MatMul",
    init: str = "NoOp",
    keys: Sequence[str] = ("serving_default",),
    tags: Sequence[str] = ("serve",),
) -> bytes:
    """``saved_model.pb`` with the input x and the output y, computed by a function that uses ``operator``."""

    def tensor(name: str, axes: Sequence[int], kind: int) -> bytes:
        told = message(*[(2, message((1, length))) for length in axes])
        return message((1, name), (2, kind), (3, told))

    def node(name: str, operator: str, *inputs: str, function: str = "") -> bytes:
        called = message((1, "f"), (2, message((10, message((1, function)))))) if function else b""
        return message(
            (1, name), (2, operator), *[(3, each) for each in inputs], *([(5, called)] if function else [])
        )

    function = message((1, message((1, "__inference_f"))), (3, node("m", operator, "x")))
    nodes = [
        node("x", "Placeholder"), node("v", "VarHandleOp"), node("table", init),
        node("call", "StatefulPartitionedCall", "x", "^v", function="__inference_f"),
        node("restore", "RestoreV2", "^v"), node("save", "SaveV2", "v"),
    ]  # fmt: skip
    graph = message(*[(1, each) for each in nodes], (2, message((1, function))))
    signature = message(
        (1, message((1, "x"), (2, tensor("x:0", shape, datatype)))),
        (2, message((1, "y"), (2, tensor("call:0", (*shape[:1], 3), 1)))),
    )
    start = message(
        (2, message((1, "__saved_model_init_op"), (2, message((1, "table"), (3, message((3, 1)))))))
    )
    meta = message(
        (1, message(*[(4, tag) for tag in tags], (5, "2.21.0"))),
        (2, graph),
        (3, message((1, "file:0"), (2, "save:0"), (3, "restore"))),
        *[(5, message((1, key), (2, signature))) for key in keys],
        (5, message((1, "__saved_model_init_op"), (2, start))),
    )
    return message((1, 1), (2, meta))


VARIABLES = {"variables/variables.index": b"\x01", "variables/variables.data-00000-of-00001": b"\x01"}


# --- CatBoost


def cbm(
    *,
    loss: str = "Logloss",
    names: Sequence[str] = ("age", "city"),
    classes: Sequence[object] = (0, 1),
    dimensions: int = 1,
) -> bytes:
    """A binary model with a column of numbers and one of categories."""
    info = {
        "params": json.dumps({"loss_function": {"type": loss}}),
        "class_params": json.dumps({"class_names": list(classes)}),
        "training": "not read",
    }
    trees: dict[int, object] = {
        0: Scalar("i", dimensions),
        2: Numbers("i", [1, 1]),
        4: [{0: Scalar("i", 0), 1: Scalar("i", 1), 2: names[1]}],
        5: [{1: Scalar("i", 0), 2: Scalar("i", 0), 4: names[0]}],
    }
    core = flatbuffer(
        {0: "FlabuffersModel_v1", 1: trees, 2: [{0: name, 1: value} for name, value in info.items()]}
    )
    return b"CBM1" + len(core).to_bytes(4, "little") + core
