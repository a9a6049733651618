"""Names of versions, and of licences."""

import pytest

from modelyard.core.errors import InvalidInput
from modelyard.core.licence import allows_commercial, check_licence
from modelyard.core.listing import precision_of
from modelyard.core.reference import Reference, check_alias, parse_model, parse_reference, parse_which


@pytest.mark.parametrize(
    ("text", "model", "which"),
    [
        ("fraud", "fraud", None),
        ("fraud/3", "fraud", 3),
        ("fraud/007", "fraud", 7),
        ("fraud@production", "fraud", "production"),
        ("fraud@latest", "fraud", None),
        ("a.b-c_d@e.f", "a.b-c_d", "e.f"),
    ],
)
def test_a_version_is_named_in_three_ways(text: str, model: str, which: int | str | None) -> None:
    reference = parse_reference(text)
    assert reference == Reference(model=model, which=which)
    assert parse_reference(str(reference)) == reference


@pytest.mark.parametrize(
    "text",
    ["", "/", "fraud/", "fraud/0", "fraud/-1", "fraud/3/4", "fraud/x", "fraud@", "fraud@3", "Fraud", "fraud@A", "a@b@c",
     "fraud/99999999999", "fraud/3\n", "./fraud", "git@host:x", "fraud/٣"],
)  # fmt: skip
def test_what_names_none_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        parse_reference(text)


@pytest.mark.parametrize("text", ["fraud/3", "fraud@production", "fraud@latest", "fraud/"])
def test_where_a_model_is_named_a_version_is_told_apart(text: str) -> None:
    with pytest.raises(InvalidInput, match="names a version; give the model's name without one: fraud"):
        parse_model(text)


@pytest.mark.parametrize("text", ["", "/", "/fraud", "Fraud"])
def test_what_names_no_model_is_refused(text: str) -> None:
    assert parse_model("fraud") == "fraud"
    with pytest.raises(InvalidInput, match="cannot be a name"):
        parse_model(text)


@pytest.mark.parametrize(("text", "which"), [("3", 3), ("production", "production"), ("latest", None)])
def test_the_part_behind_the_model(text: str, which: int | str | None) -> None:
    assert parse_which(text) == which


@pytest.mark.parametrize("text", ["0", "99999999999999999999", "", "A", "2147483648"])
def test_no_part_behind_the_model(text: str) -> None:
    with pytest.raises(InvalidInput):
        parse_which(text)


@pytest.mark.parametrize("name", ["3", "latest", "A", ""])
def test_what_means_something_already_is_no_alias(name: str) -> None:
    with pytest.raises(InvalidInput):
        check_alias(name)


@pytest.mark.parametrize(
    ("told", "spdx", "commercial"),
    [
        ("mit", "MIT", True),
        ("apache-2.0", "Apache-2.0", True),
        ("CC-BY-NC-SA-4.0", "CC-BY-NC-SA-4.0", False),
        ("cc-by-nc-4.0", "CC-BY-NC-4.0", False),
        ("MIT OR Apache-2.0", "MIT OR Apache-2.0", True),
        ("MIT AND LicenseRef-x", "MIT AND LicenseRef-x", None),
        ("LicenseRef-Llama-3", "LicenseRef-Llama-3", None),
    ],
)
def test_licences_are_written_as_spdx_writes_them(told: str, spdx: str, commercial: bool | None) -> None:
    assert check_licence(told) == spdx
    assert allows_commercial(spdx) is commercial


@pytest.mark.parametrize("told", ["", "what ever", "MIT,Apache-2.0", "(MIT)", "x" * 300])
def test_what_is_no_licence_is_refused(told: str) -> None:
    with pytest.raises(InvalidInput):
        check_licence(told)


@pytest.mark.parametrize(
    ("told", "precision"),
    [("F32", "float32"), ("float32 99%, int64 1%", "float32"), ("Q4_K_M", "q4_k_m"), ("BF16", "bfloat16"),
     ("no weights", None), ("type 7", None), ("", None)],
)  # fmt: skip
def test_precisions_have_one_name(told: str, precision: str | None) -> None:
    assert precision_of(told) == precision
