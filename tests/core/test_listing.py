"""What a search may ask for."""

import pytest

from modelyard.core.errors import InvalidInput
from modelyard.core.listing import Wanted


def test_a_word_is_no_list_of_tags() -> None:
    assert Wanted(tags=("medicine",)).tags == ("medicine",)
    with pytest.raises(InvalidInput, match=r"tags is a list of words: \('medicine',\)"):
        Wanted(tags="medicine")  # pyright: ignore[reportArgumentType]
