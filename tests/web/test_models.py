"""The registry browser: what is found, what is said when nothing is, and addresses that can be passed on."""

import re
from pathlib import Path

from modelyard.core.card import Card
from modelyard.core.manifest import FileEntry, Manifest
from modelyard.core.metrics import figures_table
from modelyard.core.model import Analysis
from support.pages import TestClient, add, browser_of, perceptron, platform_of


def named(text: str) -> list[str]:
    return re.findall(r'class="name" href="/models/([^"/]+)/versions', text)


def many(registry: TestClient, count: int) -> None:
    versions = platform_of(registry).versions
    for number in range(count):
        files = Manifest(files=(FileEntry(path="m", size=number, sha256=f"{number:064x}"),))
        card = Card(task="docking" if number % 2 else "regression", licence="MIT")
        versions.add(f"m{number:03}", files, Analysis(format="onnx", adapter="onnx"), False, card=card)


def test_an_empty_registry_says_how_to_begin(registry: TestClient) -> None:
    text = registry.get("/models").text
    assert "There is no model yet" in text
    assert 'href="/upload"' in text and "modelyard deploy ./model.onnx" in text


def test_a_viewer_is_not_led_to_what_he_may_not_do(tmp_path: Path) -> None:
    with browser_of(tmp_path / "home", authentication=True) as browser:
        for role, led in (("operator", True), ("viewer", False)):
            _, key = platform_of(browser).keys.create(role, project="default", role=role)
            browser.post("/login", data={"key": key})
            assert ("Upload one" in browser.get("/models").text) is led
        many(browser, 1)
        assert "m000" in browser.get("/models").text
        assert "/upload" not in browser.get("/models").text


def test_models_are_found_by_words_and_filters(registry: TestClient, tmp_path: Path) -> None:
    add(
        registry,
        "fraud",
        {"model.onnx": perceptron(tmp_path), "README.md": b"---\nlicense: mit\n---\nPayments.\n"},
    )
    add(registry, "other", {"model.onnx": perceptron(tmp_path, seed=1)})
    assert named(registry.get("/models").text) == ["other", "fraud"]
    assert named(registry.get("/models?text=payment").text) == ["fraud"]
    assert named(registry.get("/models?licence=MIT&format=onnx").text) == ["fraud"]
    text = registry.get("/models?licence=MIT").text
    assert "<strong>1</strong> version found" in text
    assert 'class="chip" href="/models?"' in text  # takes the filter away


def test_every_model_is_on_exactly_one_page(registry: TestClient) -> None:
    many(registry, 75)
    seen: list[str] = []
    address: str | None = "/models?sort=name"
    while address is not None:
        text = registry.get(address).text
        seen += named(text)
        following = re.search(r'rel="next" href="([^"]+)"', text)
        address = following[1].replace("&amp;", "&") if following else None
    assert seen == [f"m{number:03}" for number in range(75)]


def test_facets_have_counts_and_lead_to_the_filter(registry: TestClient) -> None:
    many(registry, 5)
    text = registry.get("/models").text
    assert re.search(
        r'href="/models\?task=regression"[^>]*><bdi>regression</bdi> <span class="dim">3</span>', text
    )


def test_facets_count_what_the_other_filters_leave(registry: TestClient) -> None:
    many(registry, 5)
    text = registry.get("/models?task=docking").text
    assert re.search(r'<bdi>onnx</bdi> <span class="dim">2</span>', text)
    assert re.search(r'<bdi>regression</bdi> <span class="dim">3</span>', text)


def test_tags_can_be_chosen_together_and_are_taken_away_one_by_one(registry: TestClient) -> None:
    versions = platform_of(registry).versions
    for number, tags in enumerate((("blood", "small"), ("blood",), ("small",))):
        files = Manifest(files=(FileEntry(path="m", size=number, sha256=f"{number:064x}"),))
        versions.add(
            f"m{number}", files, Analysis(format="onnx", adapter="onnx"), False, card=Card(tags=tags)
        )

    def links(text: str) -> dict[str, tuple[str, str]]:
        section = text.partition("<h2>Tags</h2>")[2].partition("</section>")[0]
        found = re.findall(r'href="([^"]+)"[^>]*><bdi>(\w+)</bdi> <span class="dim">(\d+)</span>', section)
        return {tag: (link.replace("&amp;", "&"), many) for link, tag, many in found}

    whole = links(registry.get("/models").text)
    assert {tag: many for tag, (_, many) in whole.items()} == {"blood": "2", "small": "2"}
    one = registry.get(whole["blood"][0]).text
    assert named(one) == ["m1", "m0"] and links(one)["small"][1] == "1"
    both = registry.get(links(one)["small"][0]).text
    assert named(both) == ["m0"]
    assert named(registry.get(links(both)["blood"][0]).text) == [
        "m2",
        "m0",
    ]  # chosen: the link takes it away
    assert "#small" in one and "Tags" not in registry.get("/models?format=gguf").text.partition("found")[0]


def measured(registry: TestClient) -> None:
    versions = platform_of(registry).versions
    for number, told in enumerate(({"auc": 0.7, "ms": 9}, {"auc": 0.9}, {"ROC AUC": 0.8}, {})):
        files = Manifest(files=(FileEntry(path="m", size=number, sha256=f"{number:064x}"),))
        card = Card(metrics=(figures_table(told),) if told else ())
        versions.add(f"m{number}", files, Analysis(format="onnx", adapter="onnx"), False, card=card)


def test_models_are_found_and_ordered_by_their_figures(registry: TestClient) -> None:
    measured(registry)
    whole = registry.get("/models").text
    section = whole.partition("<h2>Figures</h2>")[2].partition("</section>")[0]
    told = re.findall(r'href="([^"]+)"[^>]*><bdi>(\w+)</bdi> <span class="dim">(\d+)</span>', section)
    assert [(name, many) for _, name, many in told] == [("auc", "2"), ("ms", "1"), ("roc_auc", "1")]
    assert '<option value="-metric"' not in whole and '<option value="roc_auc">' in whole
    having = registry.get(told[0][0].replace("&amp;", "&")).text
    assert named(having) == ["m1", "m0"] and '<option value="-metric">highest auc first</option>' in having
    best = registry.get("/models", params={"metric": "auc>=0.7", "sort": "metric"}).text
    assert named(best) == ["m0", "m1"] and "<strong>auc</strong> 0.7" in best
    assert '<option value="metric" selected>' in best
    chip = re.search(r'class="chip" href="([^"]+)"[^>]*>figure: <bdi>auc&gt;=0.7</bdi>', best)
    assert chip is not None and chip[1] == "/models?"  # the order goes with the figure
    assert named(registry.get("/models?metric=&sort=-metric").text) == ["m3", "m2", "m1", "m0"]


def test_a_figure_that_none_reaches_is_told_with_the_nearest(registry: TestClient) -> None:
    measured(registry)
    text = registry.get("/models", params={"metric": "auc>=0.99", "sort": "-metric"}).text
    told = re.search(r"<p>No version has the (.*?)</p>", text)
    assert told is not None and re.sub("<[^>]+>", "", told[1]) == "figure auc&gt;=0.99; there is auc=0.9."
    link = re.search(r'href="([^"]+)"', told[1])
    assert link is not None and named(registry.get(link[1].replace("&amp;", "&")).text) == ["m1"]


def test_what_is_not_shown_at_once_is_behind_more(registry: TestClient) -> None:
    versions = platform_of(registry).versions
    for number in range(20):
        files = Manifest(files=(FileEntry(path="m", size=number, sha256=f"{number:064x}"),))
        card = Card(task=f"task-{number:02}", tags=(f"tag-{number:02}",))
        versions.add(f"m{number}", files, Analysis(format="onnx", adapter="onnx"), False, card=card)
    text = registry.get("/models").text
    assert text.count('<summary class="dim">12 more</summary>') == 2  # of the tasks and of the tags
    assert all(f"task=task-{number:02}" in text and f"tag=tag-{number:02}" in text for number in range(20))
    chosen = registry.get("/models?task=task-19").text
    assert (
        chosen.count("<bdi>task-19</bdi>") == 2
    )  # the chip above what was found, and once among the filters


def test_what_nothing_is_says_so_and_how_to_go_on(registry: TestClient) -> None:
    many(registry, 1)
    text = registry.get("/models?text=nowhere").text
    assert "Nothing is all of that" in text and "<strong>0</strong>" in text


def test_a_value_that_no_version_has_leads_to_those_like_it(registry: TestClient) -> None:
    many(registry, 2)
    text = registry.get("/models?task=dockin&licence=MIT").text
    told = re.search(r"<p>No version has the (.*?)</p>", text)
    assert told is not None and re.sub("<[^>]+>", "", told[1]) == "task dockin; there is docking."
    link = re.search(r'href="([^"]+)"', told[1])
    assert link is not None and named(registry.get(link[1].replace("&amp;", "&")).text) == ["m001"]
    assert "No version has" not in registry.get("/models?task=docking&text=nowhere").text


def test_filters_that_exclude_each_other_lead_out(registry: TestClient) -> None:
    measured(registry)
    text = registry.get("/models", params={"metric": ["auc", "ms>5", "roc_auc"], "name": "m3"}).text
    assert "some without" not in text  # it takes two
    text = registry.get("/models", params={"metric": ["auc", "ms>5"], "name": "m2", "max_size": "1B"}).text
    link = re.search(r'<p>There would be <a href="([^"]+)">some without</a> the name <bdi>m2</bdi>', text)
    assert link is not None and named(registry.get(link[1].replace("&amp;", "&")).text) == ["m0"]
    assert text.count("some without") == 1


def test_an_address_that_cannot_be_is_a_page_that_says_why(registry: TestClient) -> None:
    for address, told in (
        ("/models?colour=red", "nothing that can be searched by"),
        ("/models?min_size=huge", "is not a size"),
        ("/models?cursor=rubbish", "This is no cursor"),
        ("/models?status=gone", "status"),
        ("/models?metric=auc%3E%3Dhigh", "no number to compare auc with"),
    ):
        page = registry.get(address)
        assert page.status_code == 400 and told in page.text and "<h1>" in page.text


def test_what_is_asked_for_is_shown_as_text(registry: TestClient) -> None:
    many(registry, 1)
    page = registry.get(
        "/models", params={"text": "<script>alert(1)</script>", "architecture": '"><b>\u202e'}
    )
    assert "<script>alert" not in page.text and '"><b>' not in page.text
    assert "\u202e" not in page.text.replace('value="&#34;&gt;&lt;b&gt;\u202e"', "")


def test_a_path_without_a_page_is_told_on_one_to_a_browser_and_in_json_to_a_program(
    registry: TestClient,
) -> None:
    page = registry.get("/nothing/here")
    assert page.status_code == 404 and "There is no such page" in page.text
    assert registry.get("/nothing/here", headers={"accept": "*/*"}).json()["code"] == "not_found"
    assert registry.get("/api/v1/nothing").json()["code"] == "not_found"


def test_with_authentication_every_page_asks_for_the_key(tmp_path: Path) -> None:
    with browser_of(tmp_path / "home", authentication=True) as browser:
        for path in (
            "/models",
            "/models/m",
            "/catalog",
            "/upload",
            "/jobs/x",
            "/models/m/versions/1/files/a",
        ):
            page = browser.get(path, follow_redirects=False)
            assert (page.status_code, page.headers["location"]) == (303, "/login"), path
