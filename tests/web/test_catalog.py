"""The catalog browser: found, filtered, and how to get each entry."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from modelyard.analyze.model_yaml import ADAPTERS
from modelyard.catalog.catalog import load
from modelyard.catalog.entry import is_runnable
from support.models import save_mlp
from support.node import wait_until
from support.pages import TestClient, browser_of, platform_of

ENTRY = "resnet50-onnx"  # of an adapter that takes any file of its format


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


@pytest.fixture
def mirrored(tmp_path: Path) -> Iterator[TestClient]:
    """A platform with a mirror that has a small model in the place of an entry's."""
    folder = tmp_path / "mirror" / ENTRY
    folder.mkdir(parents=True)
    save_mlp(folder / "model.onnx", sizes=(4, 8, 3))
    with browser_of(tmp_path / "home", mirror=str(folder.parent)) as opened:
        yield opened


def deploy(browser: TestClient, entry: str, endpoint: str, **headers: str) -> tuple[int, str]:
    page = browser.post(
        f"/catalog/{entry}", data={"endpoint": endpoint}, headers=headers, follow_redirects=False
    )
    return page.status_code, page.headers.get("location", "") or page.text


def job_of(browser: TestClient, address: str) -> Any:
    return platform_of(browser).jobs.get(address.removeprefix("/jobs/"))


def test_what_can_be_deployed_by_its_name_has_a_button_and_other_entries_have_none(
    registry: TestClient,
) -> None:
    for name, entry in load().entries.items():
        text = registry.get(f"/catalog/{name}").text
        assert (f'action="/catalog/{name}"' in text) == is_runnable(entry, ADAPTERS), name


def test_an_entry_is_fetched_and_registered_by_a_job_that_its_page_shows(mirrored: TestClient) -> None:
    status, address = deploy(mirrored, ENTRY, "pictures")
    assert status == 303 and address.startswith("/jobs/")
    platform = platform_of(mirrored)
    wait_until(lambda: job_of(mirrored, address).stage not in (None, "fetch", "register"))
    version = platform.versions.latest("pictures")
    assert [file.path for file in version.manifest.files] == ["model.onnx"]
    (came,) = platform.versions.provenance("pictures", version.number)
    assert (came.source.kind, came.source.name, came.source.of.kind) == ("catalog", ENTRY, "mirror")
    assert platform.cards.get("pictures", 1).card.licence == load().entries[ENTRY].licence.spdx
    text = mirrored.get(address).text
    assert "fetch its files" in text and "1 file(s)" in text
    assert mirrored.post(f"{address}/cancel").status_code == 200
    assert job_of(mirrored, address).state == "cancelled"
    assert mirrored.post(f"{address}/cancel").status_code == 200  # of a second tab


def test_pressing_twice_is_one_job(mirrored: TestClient) -> None:
    platform_of(mirrored).runner.stop()
    first, second = deploy(mirrored, ENTRY, "pictures"), deploy(mirrored, ENTRY, "pictures")
    assert first == second and first[0] == 303
    assert len(platform_of(mirrored).jobs.list(10)) == 1


def test_what_is_not_there_or_cannot_be_is_refused_on_a_page(mirrored: TestClient) -> None:
    closed = next(name for name, entry in load().entries.items() if not is_runnable(entry, ADAPTERS))
    for entry, endpoint, status, told in (
        ("no-such-entry", "x", 404, "no such entry"),
        (ENTRY, "NO GOOD", 400, "cannot be a name"),
        (ENTRY, "", 400, "cannot be a name"),
        (closed, "x", 503, "cannot be deployed by its name"),
    ):
        found, text = deploy(mirrored, entry, endpoint)
        assert (found, told in text) == (status, True), (entry, endpoint)
    assert deploy(mirrored, ENTRY, "x", **{"sec-fetch-site": "cross-site"})[0] == 403
    assert platform_of(mirrored).jobs.list(10) == []


def test_a_source_that_cannot_be_had_fails_the_job_with_its_reason(tmp_path: Path) -> None:
    with browser_of(tmp_path / "home", mirror=str(tmp_path / "no-mirror")) as browser:
        _, address = deploy(browser, ENTRY, "pictures")
        wait_until(lambda: job_of(browser, address).state == "failed")
        assert "no-mirror" in browser.get(address).text
