"""model.py, read as syntax."""

import pytest

from modelyard.analyze import analyze
from modelyard.core.errors import RejectedContent


def inputs(files_of, source):
    analysis = analyze(files_of({"model.py": source.encode()}))
    return {
        spec.name: (spec.datatype, spec.shape, spec.kind, spec.optional)
        for spec in analysis.signature.inputs
    }


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        ("str", ("BYTES", (), "text")),
        ("int", ("INT64", (), "tensor")),
        ("float", ("FP64", (), "tensor")),
        ("bool", ("BOOL", (), "tensor")),
        ("list[float]", ("FP64", (-1,), "tensor")),
        ("list[int]", ("INT64", (-1,), "tensor")),
        ("List[str]", ("BYTES", (-1,), "text")),
        ("typing.List[str]", ("BYTES", (-1,), "text")),
        ("list[list[float]]", ("FP64", (-1, -1), "tensor")),
        ("'list[float]'", ("FP64", (-1,), "tensor")),
        ("int | None", ("INT64", (), "tensor")),
        ("Optional[float]", ("FP64", (), "tensor")),
        ("Union[int, None]", ("INT64", (), "tensor")),
        ("Literal['a', 'b']", ("BYTES", (), "text")),
        ("Literal[1, 2]", ("INT64", (), "tensor")),
        ("Literal[1, 'a']", ("BYTES", (), "json")),
        ("int | str", ("BYTES", (), "json")),
        ("numpy.ndarray", ("BYTES", (), "json")),
        ("dict", ("BYTES", (), "json")),
        ("list", ("BYTES", (), "json")),
        ("'not python ('", ("BYTES", (), "json")),
    ],
)
def test_annotations_become_inputs(files_of, annotation, expected):
    assert inputs(files_of, f"def predict(x: {annotation}): ...")["x"] == (*expected, False)


def test_without_annotation_it_is_json(files_of):
    assert inputs(files_of, "def predict(x): ...")["x"] == ("BYTES", (), "json", False)


def test_a_default_makes_an_input_optional(files_of):
    found = inputs(files_of, "def predict(a: int, b: int = 2, *, c: bool = False, d: str): ...")
    assert [(name, found[name][3]) for name in found] == [
        ("a", False),
        ("b", True),
        ("c", True),
        ("d", False),
    ]


def test_a_class_is_an_entry_too(files_of):
    source = """
class Model:
    def load(self, folder): ...
    def predict(self, text: str): ...
    def predict_batch(self, records): ...
"""
    analysis = analyze(files_of({"model.py": source.encode()}))
    assert analysis.options["entry"] == "Model"
    assert [spec.name for spec in analysis.signature.inputs] == ["text"]
    assert not analysis.signature.batched
    assert analysis.executes == "code"
    assert (analysis.signature.outputs[0].name, analysis.signature.outputs[0].kind) == ("output", "json")


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("x = 1", "nothing to call"),
        ("", "nothing to call"),
        ("class Model: pass", "no method predict"),
        ("def predict(): ...", "takes no input"),
        ("def predict(*args): ...", r"takes \*args"),
        ("def predict(**record): ...", r"takes \*\*record"),
        ("def predict(a, /): ...", "remove the '/'"),
        ("async def predict(a): ...", "is async"),
        ("def predict(a): ...\nclass Model:\n def predict(self, a): ...", "keep one of them"),
        ("class Model:\n def __init__(self, x): ...\n def predict(self, a): ...", r"calls Model\(\)"),
        ("class Model:\n def load(self): ...\n def predict(self, a): ...", r"calls load\(self, folder\)"),
        ("def predict(a):\n  return (", r"was never closed \(line 2, column 10\)"),
        ("def predict(a): return '\x00'", "not valid Python"),
    ],
)
def test_what_cannot_be_served_is_told_with_its_place(files_of, source, why):
    with pytest.raises(RejectedContent, match=why):
        analyze(files_of({"model.py": source.encode()}))


def test_requirements_are_read_with_comments_and_continuations(files_of):
    text = b"# all\nnumpy >= 1.26  # arrays\n\nscikit-learn \\\n  ==1.5.0 ; python_version > '3.8'\n"
    analysis = analyze(files_of({"model.py": b"def predict(a): ...", "requirements.txt": text}))
    assert analysis.requirements == ("numpy>=1.26", 'scikit-learn==1.5.0; python_version > "3.8"')


@pytest.mark.parametrize(
    "line",
    [
        "-r other.txt",
        "-e .",
        "--hash=sha256:0",
        "./wheel.whl",
        "x @ https://a/b.whl",
        "git+https://a/b",
        "/a",
        "!!",
    ],
)
def test_other_lines_are_refused_with_their_number(files_of, line):
    with pytest.raises(RejectedContent, match=r"requirements\.txt, line 2") as caught:
        analyze(
            files_of({"model.py": b"def predict(a): ...", "requirements.txt": f"numpy\n{line}\n".encode()})
        )
    assert caught.value.field == "requirements.txt:2"


def test_nothing_of_the_file_runs(files_of, tmp_path):
    target = tmp_path / "ran"
    source = f"open({str(target)!r}, 'w')\ndef predict(a=open({str(target)!r}, 'w')): ..."
    analyze(files_of({"model.py": source.encode()}))
    assert not target.exists()
