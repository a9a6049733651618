"""Server-sent events, line by line."""

from hypothesis import given
from hypothesis import strategies as st

from modelyard.client.events import EventParser

lines = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), min_size=1)


def feed(parser: EventParser, text: list[str]) -> list[str]:
    return [data for line in text if (data := parser.feed(line)) is not None]


def test_an_event_ends_with_an_empty_line() -> None:
    assert feed(EventParser(), ["id: 1", "data: {}", "", "data: tail"]) == ["{}"]


def test_comments_keep_the_connection_alive_only() -> None:
    assert feed(EventParser(), [": still here", "", "data: x", "", ""]) == ["x"]


def test_only_one_space_belongs_to_the_field() -> None:
    assert feed(EventParser(), ["data:  x", "", "data:y", ""]) == [" x", "y"]


@given(st.lists(lines, min_size=1, max_size=5))
def test_several_data_lines_are_one_text(told: list[str]) -> None:
    assert feed(EventParser(), [*(f"data: {line}" for line in told), ""]) == ["\n".join(told)]
