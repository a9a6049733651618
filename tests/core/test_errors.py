"""One table of errors: every code has its statuses, every class is in the table."""

import pytest

from modelyard.core import errors
from modelyard.core.errors import ERROR_KINDS, InvalidInput, ModelyardError, Overloaded

CLASSES = ModelyardError.__subclasses__()


def test_there_is_one_class_per_code_and_no_other() -> None:
    assert sorted(cls.code for cls in CLASSES) == sorted(ERROR_KINDS)


def test_the_statuses_are_those_of_the_design() -> None:
    assert {code: kind.http for code, kind in ERROR_KINDS.items()} == {
        "invalid_input": 400, "unauthenticated": 401, "forbidden": 403, "not_found": 404, "conflict": 409,
        "too_large": 413, "rejected_content": 422, "overloaded": 429, "cancelled": 499, "internal": 500,
        "unavailable": 503, "deadline": 504,
    }  # fmt: skip


def test_grpc_statuses_are_those_of_the_protocol() -> None:
    assert all(1 <= kind.grpc <= 16 for kind in ERROR_KINDS.values())
    assert ERROR_KINDS["unauthenticated"].grpc == 16
    assert ERROR_KINDS["unavailable"].grpc == 14


def test_the_body_says_what_where_and_whether_to_try_again() -> None:
    assert InvalidInput("Wrong.", field="inputs[0]").body("r-1") == {
        "error": "Wrong.", "code": "invalid_input", "field": "inputs[0]", "retryable": False, "request_id": "r-1",
    }  # fmt: skip
    assert Overloaded("Full.", retry_after=2.0).body("r")["retryable"] is True


def test_a_code_that_is_not_in_the_table_is_refused() -> None:
    with pytest.raises(ValueError, match="not an error code"):
        ModelyardError("?", code="oops")


@pytest.mark.parametrize("cls", CLASSES)
def test_every_class_is_documented(cls: type[ModelyardError]) -> None:
    assert cls.__doc__
    assert getattr(errors, cls.__name__) is cls
