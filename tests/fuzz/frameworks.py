"""Files that PyTorch, TensorFlow and CatBoost write; what lies in a zip is tried by itself too, in a zip that is right."""

import json
from collections.abc import Callable, Sequence

from fuzz.engine import Harness
from fuzz.files import Files, file_harness
from modelyard.analyze import analyze, torch_pickles
from modelyard.analyze.torchscript_code import forward_of, reaches_for, traced
from modelyard.core.errors import RejectedContent
from support import model_files

_ZIP = [b"PK\x01\x02", b"PK\x05\x06", b"PK\x03\x04", b"../", b"m/"]
_FLAT = [b"\xff\xff\xff\xff", b"\x00\x00\x00\x80", b"\x04\x00\x00\x00", b"\x01\x00\x00\x00", b"\x00\x00"]


def _inside(
    name: str,
    seeds: Sequence[bytes],
    tokens: Sequence[bytes],
    files_of: Callable[[bytes], dict[str, bytes]],
) -> Harness:
    """Bytes in a place inside of a file."""

    def fuzz_one(data: bytes) -> None:
        try:
            analyze(Files(files_of(data)))
        except RejectedContent as error:
            assert error.message.endswith((".", ").")), error.message

    analyze(Files(files_of(seeds[0])))  # the first is a good one
    return Harness(name, fuzz_one, seeds, tokens)


def torchscript_harness() -> Harness:
    seeds = [model_files.torchscript(traced=model_files.traced_inputs()), model_files.torchscript()]
    return file_harness("torchscript", "m.pt", seeds, [*_ZIP, b"constants.pkl", b"def forward(", b"Tensor"])


def torchscript_code_harness() -> Harness:
    """What ``forward`` takes, as the text of the code tells it."""

    def fuzz_one(data: bytes) -> None:
        text = data.decode("utf-8", "replace")
        found = forward_of(text, "M")
        assert reaches_for(data).isprintable()
        for each in found.arguments if found is not None else ():
            assert each.name.isidentifier()
            assert each.has_default or each.default is None

    header = "class M(Module):\n  training : bool\n  def forward(self: __torch__.M,\n    "
    seeds = [
        f"{header}{model_files.FORWARD}:\n    return (x, ids)\n".encode(),
        f"{header}x: Tensor,\n    k: float=1.5,\n    m: Optional[Tensor]=None) -> Dict[str, Tensor]:\n    return x\n".encode(),
    ]
    assert forward_of(seeds[1].decode(), "M") is not None
    tokens = [
        b"Tensor",
        b"Optional[",
        b"=",
        b"*",
        b"->",
        b":",
        b")",
        b"(",
        b"'" * 3,
        b"\\",
        b"\n",
        b"lambda",
        b"int",
        b"save",
    ]
    return Harness("torchscript_code", fuzz_one, seeds, tokens)


def torchscript_pickle_harness() -> Harness:
    """What a model was traced with."""

    def fuzz_one(data: bytes) -> None:
        try:
            found = traced(torch_pickles.walk(data, "m.pt").root)
        except RejectedContent as error:
            assert error.message.endswith((".", ").")), error.message
            return
        for each in found or ():
            assert all(length >= 0 for length in each.shape)

    seeds = [model_files.traced_inputs(), model_files.traced_inputs([(b"BFloat16Storage", ())] * 2)]
    assert traced(torch_pickles.walk(seeds[0], "m.pt").root) is not None
    tokens = [
        b"cos\nsystem\n",
        b"R",
        b"Q",
        b"P1\n",
        b"(",
        b"t",
        b".",
        b"\x86",
        b"K\xff",
        b"J\xff\xff\xff\xff",
    ]
    return Harness("torchscript_pickle", fuzz_one, seeds, tokens)


def torch_export_harness() -> Harness:
    old = model_files.zipped(
        {"version": "8.1", "serialized_exported_program.json": json.dumps(model_files.program()),
         "serialized_state_dict.pt": model_files.sample_inputs()}
    )  # fmt: skip
    return file_harness(
        "torch_export", "m.pt2", [model_files.exported(), old], [*_ZIP, b"models/model.json", b"use_pickle"]
    )


def torch_program_harness() -> Harness:
    """The program's JSON, with the texts that PyTorch evaluates."""
    seeds = [json.dumps(model_files.program()).encode()]
    tokens = [
        b"torch.ops.aten.", b"torch.hub.load", b"Symbol('s0', positive=True, integer=True)", b"Add(", b"__import__('os')",
        b"L['x'].size()[0]", b'"as_int": ', b'"as_expr"', b'"user_input"', b"null", b"1e999", b"[", b"{", b"-1", b'"target"',
    ]  # fmt: skip
    return _inside("torch_program", seeds, tokens, lambda data: {"m.pt2": model_files.exported(data)})


def tflite_harness() -> Harness:
    seeds = [model_files.tflite(), model_files.tflite(batch=1, kind=9, signature=False)]
    return file_harness("tflite", "m.tflite", seeds, [*_FLAT, b"TFL3", b"Flex"])


def tensorflow_harness() -> Harness:
    seeds = [model_files.saved_model(), model_files.saved_model(shape=(), keys=("a", "b"), tags=())]
    tokens = [
        b"\x0a", b"\x12", b"\x2a", b"\xff\xff\xff\xff\x0f", b"\x80" * 10, b"WriteFile", b"serving_default", b"call:0", b"^",
    ]  # fmt: skip
    return file_harness("tensorflow", "saved_model.pb", seeds, tokens, model_files.VARIABLES)


def catboost_harness() -> Harness:
    features = {
        "float_features": [{"flat_feature_index": 0, "feature_id": "age"}],
        "categorical_features": [{"flat_feature_index": 1}],
    }
    told = {
        "features_info": features,
        "model_info": {
            "params": {"loss_function": {"type": "MultiClass"}},
            "class_params": {"class_names": ["a", "b"]},
        },
        "oblivious_trees": [{}],
        "scale_and_bias": [1, [0, 0]],
    }
    seeds = [model_files.cbm(), json.dumps(told).encode()]
    return file_harness(
        "catboost", "m.cbm", seeds, [*_FLAT, b"CBM1", b'"class_names":', b"null", b"1e999", b"[", b"{"]
    )
