"""Requirements at odds are told in a sentence: which two, and who asks for them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.specifiers import SpecifierSet

from modelyard.core.errors import RejectedContent
from modelyard.package.conflict import _overlap, explain
from modelyard.package.environment import Environments
from support.interpreters import another, minor

MODEL, ADAPTER = "the model", "the adapter 'onnx'"


def refused(tmp_path, asked: dict[str, str], *python: str) -> str:
    with pytest.raises(RejectedContent) as caught:
        Environments(tmp_path).ensure(list(asked), origins=asked, python=python)
    assert caught.value.field == "requirements"
    return caught.value.message


def test_the_model_and_its_adapter(tmp_path):
    told = refused(tmp_path, {"numpy<1.26": MODEL, "numpy>=1.26,<3": ADAPTER})
    assert "the model asks for numpy<1.26, and the adapter 'onnx' asks for numpy>=1.26,<3." in told
    assert "Loosen or correct one of them." in told


def test_the_model_and_a_package_that_the_adapter_needs(tmp_path):
    told = refused(tmp_path, {"numpy<1.20": MODEL, "scikit-learn==1.5.0": ADAPTER})
    assert "the model asks for numpy<1.20" in told
    assert "scikit-learn==1.5.0, which the adapter 'onnx' asks for, needs numpy>=" in told
    assert "In uv's words: Because scikit-learn==1.5.0 depends on numpy" in told


def test_what_two_packages_bring_along(tmp_path):
    told = refused(tmp_path, {"fastapi==0.95.2": MODEL, "pydantic>=2.12": ADAPTER})
    assert "the adapter 'onnx' asks for pydantic>=2.12" in told
    assert "fastapi==0.95.2, which the model asks for, needs pydantic" in told


def test_a_python_that_a_package_does_not_run_on(tmp_path):
    other = another(below="3.11")
    told = refused(tmp_path, {"networkx>=3.5": MODEL}, minor(other))
    assert (
        f"networkx>=3.5, which the model asks for, needs Python >=3.11, and its environment has {other.name}"
        in told
    )
    assert f"because it is to be {minor(other)}" in told


def test_a_python_that_nobody_asked_for_can_be_asked_for():
    reason = (
        "Because the current Python version (3.9.16) does not satisfy Python>=3.10 and iniconfig==2.3.1 depends on "
        "Python>=3.10, we can conclude that iniconfig==2.3.1 cannot be used. And because you require iniconfig==2.3.1, we "
        "can conclude that your requirements are unsatisfiable."
    )
    told = explain(reason, {"iniconfig==2.3.1": MODEL}, "PyPy 3.9.16", ())
    assert told == (
        "iniconfig==2.3.1, which the model asks for, needs Python >=3.10, and its environment has PyPy 3.9.16. Say that the "
        "model needs it (python: '>=3.10' in its model.yaml, or --python), or ask for another version."
    )


def test_a_package_without_a_wheel(tmp_path):
    told = refused(tmp_path, {"scipy==1.9.0": MODEL})
    assert told.startswith("scipy==1.9.0, which the model asks for, has no wheel for CPython ")
    assert "python in its model.yaml" in told


@pytest.mark.parametrize(
    "reason",
    ["", "Because of something that nobody has seen yet.", "depends on", "a depends on", "Because a depends on b " * 50,
     "all of: depends on one of: , ((", "x==1 depends on y==1.*.*, and z"],
)  # fmt: skip
def test_a_text_that_is_not_understood_is_left_to_uv(reason):
    assert explain(reason, {"numpy>=1": MODEL, "not a requirement!": MODEL}, "CPython 3.11", ()) is None


@given(st.text(alphabet="abB ecuse depends on you require and,.<>=!~0129[]():*", max_size=300))
def test_no_text_breaks_it(reason):
    explain(reason, {"numpy>=1,<2": MODEL, "b==1": ADAPTER}, "CPython 3.11", ("3.11",))


def test_a_list_of_alternatives_is_read():
    reason = (
        "Because transformers>=5.0.0 depends on one of: tokenizers>=0.22.0,<=0.23.0 tokenizers>=0.23.1,<0.24.0 And because "
        "you require transformers>=5 and tokenizers<0.20, we can conclude that your requirements are unsatisfiable."
    )
    told = explain(reason, {"transformers>=5": ADAPTER, "tokenizers<0.20": MODEL}, "CPython 3.11", ())
    assert told is not None
    assert "needs tokenizers>=0.22.0,<=0.23.0 or tokenizers>=0.23.1,<0.24.0" in told


def test_a_package_in_between_is_named_with_who_brought_it():
    reason = "Because a==1 depends on b==2 and b==2 depends on c<3, we can conclude … you require c>=3."
    told = explain(reason, {"a==1": ADAPTER, "c>=3": MODEL}, "CPython 3.11", ())
    assert told is not None
    assert (
        "the model asks for c>=3, and b==2, which comes with the a==1 that the adapter 'onnx' asks for, needs c<3."
        in told
    )


def test_requirements_with_markers_are_not_taken_for_a_conflict(tmp_path):
    lines = ["iniconfig<2.1; python_version < '3.5'", "iniconfig>=2.1"]
    assert "iniconfig==2" in Environments(tmp_path).ensure(lines).lock


versions = st.lists(st.integers(0, 3), min_size=1, max_size=3).map(lambda parts: ".".join(map(str, parts)))
clauses = st.tuples(st.sampled_from([">=", "<=", "<", ">", "==", "!=", "~="]), versions).filter(
    lambda clause: clause[0] != "~=" or "." in clause[1]
)
ranges = st.lists(clauses, min_size=1, max_size=3).map(
    lambda some: SpecifierSet(",".join(map("".join, some)))
)


@given(ranges, ranges, versions)
def test_two_that_a_version_fulfils_never_exclude_each_other(one, other, version):
    if version in one and version in other:
        assert _overlap(one, other)
