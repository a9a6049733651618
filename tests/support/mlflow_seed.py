"""Every flavour that is served, and those that cannot be, logged by MLflow itself; what MLflow answers beside it."""

import json
import sys
import warnings

import mlflow
import numpy

warnings.filterwarnings("ignore")

mlflow.set_tracking_uri(sys.argv[1])
wanted = sys.argv[2].split(",")
X = numpy.random.default_rng(0).random((40, 4)).astype("float32")
y = (X[:, 0] > 0.5).astype(int)
answers = {}


def logged(flavour, name, model, **more):
    with mlflow.start_run():
        more.setdefault("input_example", X[:2])
        more.setdefault("pip_requirements", ["numpy==" + numpy.__version__])
        getattr(mlflow, flavour).log_model(model, name="model", registered_model_name=name, **more)


def lightgbm_booster():
    import lightgbm

    booster = lightgbm.train({"verbose": -1}, lightgbm.Dataset(X, y), 3)
    logged("lightgbm", "lightgbm-booster", booster)
    return booster.predict(X[:1])


def lightgbm_pickle():
    import lightgbm

    logged("lightgbm", "lightgbm-pickle", lightgbm.LGBMClassifier(n_estimators=3, verbose=-1).fit(X, y))


def catboost():
    import catboost

    model = catboost.CatBoostRegressor(iterations=3, verbose=0, allow_writing_files=False).fit(X, X[:, 1])
    logged("catboost", "catboost", model)
    return model.predict(X[:1])


def onnx():
    from onnx import TensorProto, helper

    def info(name):
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 4])

    graph = helper.make_graph([helper.make_node("Add", ["x", "x"], ["y"])], "g", [info("x")], [info("y")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    logged("onnx", "onnx", model)
    return X[:1] * 2


def net():
    import torch

    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2)).eval()


def pytorch_pt2():
    import torch

    model = net()
    signature = mlflow.models.infer_signature(X[:2], model(torch.tensor(X[:2])).detach().numpy())
    logged("pytorch", "pytorch-pt2", model, serialization_format="pt2", signature=signature)
    return model(torch.tensor(X[:1])).detach().numpy()


def pytorch_script():
    import torch

    model = torch.jit.script(net())
    logged("pytorch", "pytorch-script", model, serialization_format="pickle")
    return model(torch.tensor(X[:1])).detach().numpy()


def pytorch_traced():
    import torch

    model = torch.jit.trace(net(), torch.tensor(X[:2]))
    logged("pytorch", "pytorch-traced", model, serialization_format="pickle")
    return model(torch.tensor(X[:1])).detach().numpy()


def pytorch_pickle():
    logged("pytorch", "pytorch-pickle", net(), serialization_format="pickle")


def transformers():
    import torch
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizerFast, pipeline

    torch.manual_seed(0)
    with open("vocab.txt", "w") as file:
        file.write("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "good", "day", "bad"]))
    sizes = {
        "vocab_size": 9,
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 32,
    }
    labels = {"id2label": {0: "neg", 1: "pos"}, "label2id": {"neg": 0, "pos": 1}}
    pipe = pipeline(
        "text-classification",
        model=BertForSequenceClassification(BertConfig(**sizes, **labels)),
        tokenizer=BertTokenizerFast("vocab.txt"),
    )
    logged("transformers", "transformers", pipe, input_example=["good day"])
    return pipe("good day")[0]["label"]


def keras_model():
    import keras

    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(3, activation="softmax")])


def keras_exported():
    model = keras_model()
    signature = mlflow.models.infer_signature(X[:2], model.predict(X[:2], verbose=0))
    logged(
        "keras", "keras-exported", model, save_exported_model=True, signature=signature, input_example=None
    )
    return model.predict(X[:1], verbose=0)


def keras_file():
    logged("keras", "keras-file", keras_model(), input_example=None)


def tensorflow():
    import tensorflow as tf

    class Twice(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32, name="x")])
        def __call__(self, x):
            return {"y": x * 2.0}

    signature = mlflow.models.infer_signature({"x": X[:2]}, {"y": X[:2] * 2})
    logged("tensorflow", "tensorflow", Twice(), signature=signature, input_example=None)
    return X[:1] * 2


def tensorflow_keras():
    logged("tensorflow", "tensorflow-keras", keras_model())


def sklearn_skops():
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression().fit(X, y)
    logged("sklearn", "sklearn-skops", model, serialization_format="skops")
    return model.predict(X[:1])


def xgboost():
    import xgboost as library

    model = library.XGBRegressor(n_estimators=3).fit(X, X[:, 1])
    logged("xgboost", "xgboost", model)
    return model.predict(X[:1])


class Own(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        return model_input


def pyfunc():
    with mlflow.start_run():
        mlflow.pyfunc.log_model(
            python_model=Own(),
            name="model",
            registered_model_name="pyfunc",
            input_example=X[:2],
            pip_requirements=["numpy"],
        )


made = {key: value for key, value in list(globals().items()) if callable(value)}
for name in wanted:
    told = made[name]()
    answers[name.replace("_", "-")] = told.tolist() if hasattr(told, "tolist") else told
with open("answers.json", "w") as file:
    json.dump({"answers": answers, "row": X[0].tolist()}, file)
