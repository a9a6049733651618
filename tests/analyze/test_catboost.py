"""CatBoost models are told by what their file says of columns and classes."""

import json
from typing import Any

import pytest

from modelyard.analyze import analyze
from modelyard.core.errors import RejectedContent
from support.model_files import cbm


def as_json(**changed: Any) -> bytes:
    told = {
        "features_info": {
            "float_features": [{"flat_feature_index": 0, "feature_id": "age"}],
            "categorical_features": [{"flat_feature_index": 1, "feature_id": ""}],
        },
        "model_info": {
            "params": {"loss_function": {"type": "MultiClass"}},
            "class_params": {"class_names": ["a", "b", "c"]},
        },
        "oblivious_trees": [{}, {}],
        "scale_and_bias": [1, [0, 0, 0]],
    }
    return json.dumps(told | changed).encode()


def test_the_binary_form(files_of) -> None:
    found = analyze(files_of({"any.cbm": cbm()}))
    assert (found.format, found.adapter, found.executes) == ("CatBoost", "catboost", "no")
    assert found.signature is not None
    assert [(each.name, each.datatype) for each in found.signature.inputs] == [
        ("age", "FP64"),
        ("city", "BYTES"),
    ]
    assert [(each.name, each.datatype, each.shape) for each in found.signature.outputs] == [
        ("label", "INT64", ()),
        ("probabilities", "FP64", (2,)),
    ]
    assert (found.options["texts"], found.options["labels"], found.options["threshold"]) == ([1], [], 0.5)
    assert found.example == {"age": 0.0, "city": ""}


def test_the_json_form(files_of) -> None:
    found = analyze(files_of({"model.json": as_json()}))
    assert found.signature is not None
    assert [each.name for each in found.signature.inputs] == ["age", "f1"]
    assert [(each.name, each.datatype, each.shape) for each in found.signature.outputs] == [
        ("label", "BYTES", ()),
        ("probabilities", "FP64", (3,)),
    ]
    assert (found.options["labels"], found.options["form"], found.details["trees"]) == (
        ["a", "b", "c"],
        "json",
        "2",
    )


@pytest.mark.parametrize(
    ("loss", "dimensions", "outputs"),
    [
        ("RMSE", 1, [("prediction", "FP64", ())]),
        ("MultiRMSE", 2, [("prediction", "FP64", (2,))]),
        ("MultiLogloss", 3, [("label", "INT64", (3,)), ("probabilities", "FP64", (3,))]),
    ],
)
def test_what_training_was_for(files_of, loss: str, dimensions: int, outputs: list[Any]) -> None:
    signature = analyze(files_of({"m.cbm": cbm(loss=loss, dimensions=dimensions)})).signature
    assert signature is not None
    assert [(each.name, each.datatype, each.shape) for each in signature.outputs] == outputs


@pytest.mark.parametrize(
    ("classes", "datatype", "labels"),
    [
        (["no", "yes"], "BYTES", ["no", "yes"]),
        ([3, 7], "INT64", [3, 7]),
        ([False, True], "BYTES", ["False", "True"]),
        ([0, 1], "INT64", []),
    ],
)
def test_classes_are_called_what_training_called_them(files_of, classes, datatype: str, labels) -> None:
    found = analyze(files_of({"m.cbm": cbm(classes=classes)}))
    assert found.signature is not None
    assert found.signature.outputs[0].datatype == datatype
    assert found.options["labels"] == labels


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (cbm()[:-30], "truncated"),
        (b"CBM1\x04\0\0\0abcd", "truncated"),
        (b"CBM1" + (60).to_bytes(4, "little") + bytes(60), "corrupt|not known"),
        (as_json()[:-30], "can be read"),
        (as_json(scale_and_bias=None), "can be read"),
        (as_json(features_info={"text_features": [{"flat_feature_index": 0}]}), "columns of texts"),
        (as_json(features_info={"float_features": [{"flat_feature_index": 5}]}), "places of its columns"),
        (as_json(features_info={}), "0 columns"),
    ],
)  # fmt: skip
def test_what_is_no_catboost_model_is_told(files_of, data: bytes, why: str) -> None:
    with pytest.raises(RejectedContent, match=why) as caught:
        analyze(files_of({"a.cbm": data}))
    assert caught.value.field == "a.cbm"
