"""Run by the Python of a model's environment: small models saved as SavedModels and converted to TensorFlow Lite, and what
they answer in a plain script. Its argument is the folder for all of it: NAME/ holds a model's files, NAME.npz inputs
(in.*) and answers; text is written as Unicode."""

import os
import sys
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras
import numpy as np
import tensorflow as tf

out = Path(sys.argv[1])
keras.utils.set_random_seed(0)
rng = np.random.default_rng(0)


def keep(name, inputs, answers):
    (out / name).mkdir(exist_ok=True)
    held = {f"in.{key}": value for key, value in inputs.items()}
    held |= {key: np.asarray(value) for key, value in answers.items()}
    np.savez(
        out / f"{name}.npz",
        **{key: value.astype(str) if value.dtype == object else value for key, value in held.items()},
    )


def convert(name, converter):
    (out / name / "model.tflite").write_bytes(converter.convert())


def lite(name, inputs, names):
    """The answer of TensorFlow's own interpreter."""
    interpreter = tf.lite.Interpreter(str(out / name / "model.tflite"))
    runner = interpreter.get_signature_runner()
    answer = runner(**inputs)
    keep(name, inputs, {key: answer[key] for key in names})


a, b = keras.Input((4,), name="a"), keras.Input((3,), name="b", dtype="int32")
hidden = keras.layers.Dense(5, activation="relu")(a)
words = keras.layers.Flatten()(keras.layers.Embedding(7, 5)(b))
y = keras.layers.Dense(2, activation="softmax")(keras.layers.Concatenate()([hidden, words]))
z = keras.layers.Dense(1)(hidden)
model = keras.Model([a, b], {"y": y, "z": z})
inputs = {"a": rng.standard_normal((6, 4)).astype("f"), "b": rng.integers(0, 7, (6, 3)).astype("i4")}
keep("keras", inputs, model([inputs["a"], inputs["b"]]))
model.export(out / "keras", verbose=False)
model.save(out / "model.keras")


class Words(tf.Module):
    """Text, a table, and an axis of any length; another signature of a fixed shape."""

    def __init__(self):
        keys = tf.lookup.KeyValueTensorInitializer(["a", "b"], [1, 2])
        self.table, self.scale = tf.lookup.StaticHashTable(keys, 0), tf.Variable([2.0, 3.0])

    @tf.function(
        input_signature=[
            tf.TensorSpec([None], tf.string, name="word"),
            tf.TensorSpec([None, None], tf.float32, name="m"),
        ]
    )
    def __call__(self, word, m):
        return {
            "id": self.table.lookup(word),
            "sum": tf.reduce_sum(m, -1) * self.scale[0],
            "up": tf.strings.upper(word),
        }

    @tf.function(input_signature=[tf.TensorSpec([2, 2], tf.float32, name="x")])
    def square(self, x):
        return {"y": x @ x * self.scale[1]}


words = Words()
given = {"word": np.array(["a", "b", "zz"], dtype=object), "m": rng.standard_normal((3, 5)).astype("f")}
answers = words(tf.constant(given["word"]), tf.constant(given["m"]))
keep("words", given | {"word": given["word"].astype(str)}, {"id": answers["id"], "sum": answers["sum"]})
tf.saved_model.save(
    words, str(out / "words"), signatures={"serving_default": words.__call__, "square": words.square}
)
x = rng.standard_normal((2, 2)).astype("f")
keep("square", {"x": x}, words.square(tf.constant(x)))
tf.saved_model.save(words, str(out / "square"), signatures={"one": words.__call__, "square": words.square})


class Writer(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
    def __call__(self, x):
        tf.io.write_file("written-by-a-model", "x")
        return {"y": x}


writer = Writer()
tf.saved_model.save(writer, str(out / "writer"), signatures=writer.__call__)

keep("lite", {}, {})
convert("lite", tf.lite.TFLiteConverter.from_saved_model(str(out / "keras")))
lite("lite", inputs, ("y", "z"))

small = keras.Sequential(
    [keras.Input((4,), batch_size=1), keras.layers.Dense(8, activation="relu"), keras.layers.Dense(2)]
)
keep("quantized", {}, {})
converter = tf.lite.TFLiteConverter.from_keras_model(small)
converter.optimizations = [tf.lite.Optimize.DEFAULT]
converter.representative_dataset = lambda: ([rng.standard_normal((1, 4)).astype("f")] for _ in range(20))
converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
converter.inference_input_type = converter.inference_output_type = tf.int8
convert("quantized", converter)
interpreter = tf.lite.Interpreter(str(out / "quantized" / "model.tflite"))
(name,) = interpreter.get_signature_list()["serving_default"]["inputs"]
lite("quantized", {name: np.array([[9, -30, 60, 4]], "i1")}, ("output_0",))
