"""XGBoost and LightGBM files are told by their headers, whatever is in them."""

import json
import struct
from typing import Any

import pytest

from modelyard.analyze import analyze
from modelyard.core.errors import RejectedContent


def xgboost_model(
    objective: str = "reg:squarederror", *, columns: int = 3, classes: int = 0, **learner: Any
) -> dict[str, Any]:
    parameters = {"num_class": str(classes), "num_feature": str(columns), "num_target": "1"}
    return {
        "learner": {
            "attributes": {},
            "feature_names": [],
            "feature_types": [],
            "gradient_booster": {"model": {"gbtree_model_param": {"num_trees": "2"}, "trees": [{}, {}]}, "name": "gbtree"},
            "learner_model_param": parameters,
            "objective": {"name": objective},
            **learner,
        },
        "version": [3, 1, 2],
    }  # fmt: skip


def ubjson(value: object) -> bytes:
    """As XGBoost writes it: counted arrays, objects with an end mark."""
    if isinstance(value, str):
        return b"S" + length(value.encode())
    if isinstance(value, int):
        return b"L" + struct.pack(">q", value)
    if isinstance(value, list):
        return b"[#L" + struct.pack(">q", len(value)) + b"".join(map(ubjson, value))
    assert isinstance(value, dict)
    return b"{" + b"".join(length(key.encode()) + ubjson(each) for key, each in value.items()) + b"}"


def length(text: bytes) -> bytes:
    return b"L" + struct.pack(">q", len(text)) + text


@pytest.mark.parametrize("write", [ubjson, lambda value: json.dumps(value).encode()])
def test_xgboost_in_either_form(files_of, write) -> None:
    model = xgboost_model("multi:softprob", classes=5, feature_names=["a", "b", "c"])
    found = analyze(files_of({"any.ubj": write(model)}))
    assert (found.format, found.adapter, found.executes) == ("XGBoost", "xgboost", "no")
    assert found.requirements[0] == "xgboost-cpu>=3.1.2,<4"
    assert found.details["trees"] == "2"
    assert found.signature is not None
    assert [each.name for each in found.signature.inputs] == ["a", "b", "c"]
    assert [(each.name, each.shape) for each in found.signature.outputs] == [
        ("label", ()),
        ("probabilities", (5,)),
    ]
    assert found.example == {"a": 0.0, "b": 0.0, "c": 0.0}


def test_long_arrays_of_numbers_are_passed_over(files_of) -> None:
    numbers = b"[$d#L" + struct.pack(">q", 1_000_000) + bytes(4_000_000)
    data = ubjson(xgboost_model())
    data = data.replace(
        ubjson([{}, {}]), b"[#L" + struct.pack(">q", 1) + b"{" + length(b"x") + numbers + b"}"
    )
    files = files_of({"m.ubj": data})
    assert analyze(files).details["trees"] == "2"
    assert files.bytes_read < 300_000


def test_a_configuration_that_speaks_of_learners_is_none(files_of) -> None:
    with pytest.raises(RejectedContent, match="JSON"):
        analyze(files_of({"config.json": b'{"name": "x", "learner": {}}'}))


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (ubjson(xgboost_model())[:-30], "truncated"),
        (json.dumps(xgboost_model()).encode()[:-30], "truncated"),
        (ubjson(xgboost_model(columns=0)), "0 columns"),
        (ubjson(xgboost_model("multi:softmax")), "answer 0 numbers"),
        (ubjson(xgboost_model(feature_names=["a"])), "1 names"),
        (ubjson(xgboost_model(feature_names=["a", "b", "a"])), "2 different"),
        (ubjson(xgboost_model(learner_model_param=7)), "can be read"),
        (ubjson({**xgboost_model(), "version": [3, -1, 0]}), "can be read"),
        (b"{L\0\0\0\0\0\0\0\x07learner{" + b"L" + b"\xff" * 8, "length"),
        (b"{L\0\0\0\0\0\0\0\x07learner{" + length(b"x") + b"[" * 100, "deep"),
        (b"{L\0\0\0\0\0\0\0\x07learner{" + length(b"x") + b"[$", "truncated"),
        (b"{L\0\0\0\0\0\0\0\x07learner{" + length(b"x") + b"[$Z#L" + struct.pack(">q", 2**40), "items"),
        (b"{L\0\0\0\0\0\0\0\x07learner{" + length(b"x") + b"?", "type"),
    ],
)
def test_what_is_no_xgboost_model_is_told(files_of, data: bytes, why: str) -> None:
    with pytest.raises(RejectedContent, match=why) as caught:
        analyze(files_of({"a.ubj": data}))
    assert caught.value.field == "a.ubj"


LIGHTGBM = (
    "tree\nversion=v4\nnum_class=1\nnum_tree_per_iteration=1\nlabel_index=0\nmax_feature_idx=2\n"
    "objective=binary sigmoid:1\nfeature_names=age city Column_2\nfeature_infos=[0:1] 0:1:2 none\n"
    "tree_sizes=10 10\n\nTree=0\nnum_leaves=1\n\nend of trees\n\nparameters:\n[x: 1]\nend of parameters\n\n"
    'pandas_categorical:[["Bonn", "Köln", "Ulm"]]\n'
)


def test_lightgbm_with_the_categories_of_a_table(files_of) -> None:
    found = analyze(files_of({"any.txt": LIGHTGBM.encode(), "requirements.txt": b"lightgbm"}))
    assert (found.format, found.adapter, found.executes) == ("LightGBM", "lightgbm", "no")
    assert found.details["trees"] == "2"
    assert found.signature is not None
    assert [(each.name, each.datatype) for each in found.signature.inputs] == [
        ("age", "FP64"), ("city", "BYTES"), ("Column_2", "FP64"),
    ]  # fmt: skip
    assert found.signature.inputs[1].description == "one of Bonn, Köln, Ulm"
    assert [(each.name, each.shape) for each in found.signature.outputs] == [
        ("label", ()),
        ("probabilities", (2,)),
    ]


def test_lightgbm_whose_categories_cannot_be_told_apart_takes_codes(files_of) -> None:
    text = LIGHTGBM.replace("pandas_categorical:[", 'pandas_categorical:[["x"], ')
    found = analyze(files_of({"any.txt": text.encode()}))
    assert found.signature is not None
    assert found.signature.inputs[1].datatype == "FP64"
    assert "not recorded" in found.warnings[0]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (("max_feature_idx=2", "max_feature_idx=9"), "10 columns"),
        (("max_feature_idx=2", "max_feature_idx=-1"), "max_feature_idx is '-1'"),
        (("age", "city"), "2 different"),
        (("num_class=1", "num_class=x"), "num_class is 'x'"),
    ],
)
def test_what_is_no_lightgbm_model_is_told(files_of, change: tuple[str, str], why: str) -> None:
    with pytest.raises(RejectedContent, match=why) as caught:
        analyze(files_of({"a.txt": LIGHTGBM.replace(*change).encode()}))
    assert caught.value.field == "a.txt"


def test_a_header_without_an_end_is_told(files_of) -> None:
    with pytest.raises(RejectedContent, match="has no end"):
        analyze(files_of({"a.txt": LIGHTGBM.split("\n\n")[0].encode()}))


def test_several_models_are_told(files_of, onnx_bytes: bytes) -> None:
    both = {"a.txt": LIGHTGBM.encode(), "b.ubj": ubjson(xgboost_model())}
    with pytest.raises(RejectedContent, match=r"several formats: b\.ubj, a\.txt"):
        analyze(files_of(both))
    with pytest.raises(RejectedContent, match=r"m\.onnx, b\.ubj"):
        analyze(files_of({"m.onnx": onnx_bytes, "b.ubj": both["b.ubj"]}))


@pytest.mark.parametrize(
    ("line", "executes"),
    [
        ("xgboost_cpu==3.2.0", "no"),  # another version of what is installed anyway
        ("numpy==2.1.0", "no"),
        ("xgboost-cpu[dask]==3.2.0", "code"),  # brings others along
        ("numpy==2.1.0; python_version > '3'", "code"),
        ("tqdm==4.0", "code"),
    ],
)
def test_a_version_of_what_is_needed_anyway_asks_for_no_trust(files_of, line: str, executes: str) -> None:
    files = {
        "model.json": json.dumps(xgboost_model()).encode(),
        "model.yaml": json.dumps({"requirements": [line]}).encode(),
    }
    assert analyze(files_of(files)).executes == executes
