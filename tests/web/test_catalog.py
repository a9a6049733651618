"""The catalog browser: found, filtered, and how to get each entry."""

import re

import pytest

from modelyard.catalog.catalog import load
from support.pages import TestClient


def named(text: str) -> set[str]:
    return set(re.findall(r'class="name" href="/catalog/([^"]+)"', text))


def test_all_entries_are_there_by_category(registry: TestClient) -> None:
    text = registry.get("/catalog").text
    assert named(text) == set(load().entries)
    assert ">antibody<" in text.replace('class="group"', "")


def test_filters_leave_what_is_known_to_be_all_of_it(registry: TestClient) -> None:
    text = registry.get(
        "/catalog?category=protein-language-model&commercial=true&max_memory=500MB&by_name=true"
    ).text
    assert "esm2-8m" in named(text)
    assert all(load().entries[name].licence.commercial for name in named(text))
    assert "more are left out because their size is not known" in text
    assert "None is known to be all of that" in registry.get("/catalog?text=zzzzqqqq").text


@pytest.mark.parametrize("query", ["colour=red", "category=none", "max_memory=huge", "commercial=maybe"])
def test_rubbish_is_refused_on_a_page(registry: TestClient, query: str) -> None:
    page = registry.get(f"/catalog?{query}")
    assert page.status_code == 400 and "This did not work" in page.text


def test_every_entry_has_a_page_with_its_command_and_its_licence(registry: TestClient) -> None:
    for name, entry in load().entries.items():
        page = registry.get(f"/catalog/{name}")
        assert page.status_code == 200, name
        assert f"modelyard catalog deploy {name}" in page.text or "modelyard add " in page.text
        assert entry.licence.spdx in page.text


def test_a_name_that_is_nearly_one_is_told(registry: TestClient) -> None:
    page = registry.get("/catalog/esm2-8n")
    assert page.status_code == 404 and "esm2-8m" in page.text
