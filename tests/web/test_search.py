"""A search as the address of a page says it."""

from urllib.parse import parse_qsl

import pytest

from modelyard.core.errors import InvalidInput
from modelyard.web.search import read_search


def test_what_is_empty_asks_for_nothing_and_sizes_are_read_as_people_write_them() -> None:
    search = read_search(
        [("text", " protein "), ("licence", ""), ("min_size", "1.5GB"), ("max_parameters", "650M")]
    )
    wanted = search.query.wanted()
    assert (wanted.text, wanted.licence, wanted.min_size, wanted.max_parameters) == (
        "protein", None, 1_500_000_000, 650_000_000,
    )  # fmt: skip


def test_a_link_changes_one_thing_and_begins_at_the_first_page() -> None:
    search = read_search([("text", "a b&c"), ("task", "x"), ("cursor", "abc"), ("tag", "t"), ("tag", "u")])
    assert parse_qsl(search.having("task", "y")[1:]) == [
        ("text", "a b&c"),
        ("tag", "t"),
        ("tag", "u"),
        ("task", "y"),
    ]
    assert parse_qsl(search.without("tag", "t")[1:]) == [("text", "a b&c"), ("task", "x"), ("tag", "u")]
    assert parse_qsl(search.instead("tag", "t", "v")[1:]) == [
        ("text", "a b&c"),
        ("task", "x"),
        ("tag", "u"),
        ("tag", "v"),
    ]
    assert parse_qsl(search.following("next")[1:])[-1] == ("cursor", "next")


def test_an_order_by_figures_goes_with_the_last_of_them() -> None:
    search = read_search([("metric", "auc>=0.9"), ("metric", "ms<5"), ("sort", "-metric")])
    assert search.query.wanted().metrics == ("auc>=0.9", "ms<5")
    one = parse_qsl(search.without("metric", "ms<5")[1:])
    assert one == [("metric", "auc>=0.9"), ("sort", "-metric")]
    assert read_search(one).without("metric", "auc>=0.9") == "?"
    assert read_search([("metric", ""), ("sort", "metric"), ("task", "x")]).query.sort == "newest"
    assert parse_qsl(search.adding("metric", "f1")[1:])[-1] == ("metric", "f1")


@pytest.mark.parametrize(
    ("pair", "field"),
    [
        (("colour", "red"), "colour"),
        (("status", "gone"), "status"),
        (("min_size", "huge"), "min_size"),
        (("limit", "100000"), "limit"),
        (("task", "Not A Word"), "task"),
    ],
)
def test_what_cannot_be_is_refused_by_its_name(pair: tuple[str, str], field: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        read_search([pair])
    assert raised.value.field == field
