"""Names that can stand in an URL, and sizes as people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.core.errors import InvalidInput
from modelyard.core.names import check_name, suggest_name
from modelyard.core.units import (
    format_bytes,
    format_count,
    format_seconds,
    parse_bytes,
    parse_count,
    parse_seconds,
)


@pytest.mark.parametrize("name", ["a", "fraud", "all-minilm-l6-v2", "a.b_c", "0", "x" * 63])
def test_plain_names_are_accepted(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize("name", ["", "A", "a b", "-a", "a-", "a/b", "..", "a..b", "x" * 64, "a\n", "é"])
def test_others_are_refused(name: str) -> None:
    with pytest.raises(InvalidInput):
        check_name(name)


@pytest.mark.parametrize(
    ("stem", "name"), [("Model V2", "model-v2"), ("__x__", "x"), ("a..b", "a.b"), ("Größe", "gr-e")]
)
def test_a_files_name_becomes_a_name(stem: str, name: str) -> None:
    assert suggest_name(stem) == name


@given(st.text(max_size=100))
def test_a_suggestion_is_a_name_or_an_error(stem: str) -> None:
    try:
        assert check_name(suggest_name(stem))
    except InvalidInput:
        assert not any(c.isascii() and c.isalnum() for c in stem.lower())


@pytest.mark.parametrize(
    ("text", "count"),
    [("0", 0), ("512MiB", 512 * 2**20), ("4 GB", 4 * 10**9), ("1.5g", 1_500_000_000), ("7b", 7)],
)
def test_sizes_are_read(text: str, count: int) -> None:
    assert parse_bytes(text) == count


@pytest.mark.parametrize("text", ["", "MB", "-1", "1 XB", "1e3", "1,5GB"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        parse_bytes(text)


def test_sizes_and_durations_are_written_for_people() -> None:
    assert [format_bytes(count) for count in (0, 999, 38_600, 91_600_000, 2 * 10**12)] == [
        "0 B", "999 B", "38.6 kB", "91.6 MB", "2.0 TB",
    ]  # fmt: skip
    assert [format_seconds(seconds) for seconds in (4e-5, 0.0123, 1.2, 200)] == [
        "40 µs", "12.3 ms", "1.20 s", "3 min 20 s",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "count", "told"),
    [("650M", 650_000_000, "650M"), ("1.5b", 1_500_000_000, "1.5B"), ("33k", 33_000, "33k"), ("7", 7, "7")],
)
def test_counts_of_parameters_are_read_and_written(text: str, count: int, told: str) -> None:
    assert parse_count(text) == count
    assert format_count(count) == told
    for wrong in ("many", "-1", "1 T", ""):
        with pytest.raises(InvalidInput):
            parse_count(wrong)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90.0),
        ("0s", 0.0),
        ("30min", 1800.0),
        ("1.5h", 5400.0),
        ("7d", 604800.0),
        (" 2 W ", 1209600.0),
    ],
)
def test_lengths_of_time_are_read(text, seconds):
    assert parse_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "-1d", "1y", "1e9", "d", "1d2h", "9" * 20])
def test_no_length_of_time(text):
    with pytest.raises(InvalidInput, match="no length of time"):
        parse_seconds(text)
