"""Licences that people name: as SPDX lists them, or said to be listed nowhere."""

import pytest

from modelyard.core.errors import InvalidInput
from modelyard.core.licence import check_licence, check_listed


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("mit", "MIT"),
        ("CC-BY-NC-4.0", "CC-BY-NC-4.0"),
        ("GPL-2.0-only WITH Classpath-exception-2.0", "GPL-2.0-only WITH Classpath-exception-2.0"),
        ("MIT OR Apache-2.0", "MIT OR Apache-2.0"),
        ("LicenseRef-Ours", "LicenseRef-Ours"),
    ],
)
def test_what_spdx_lists_is_taken_in_its_case(said: str, kept: str) -> None:
    assert check_listed(said) == kept


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("MTI", "Did you mean MIT"),
        ("Apache-2", "Did you mean Apache-2.0"),
        ("llama3", r"LicenseRef-llama3 for one"),
        ("MIT OR Ours+", r"LicenseRef-MIT-OR-Ours- for one"),
    ],
)
def test_what_it_does_not_list_is_refused_with_what_may_be_meant(said: str, told: str) -> None:
    assert check_licence(said)  # as a README may call it
    with pytest.raises(InvalidInput, match=told) as caught:
        check_listed(said, field="--licence")
    assert caught.value.field == "--licence"
