"""The registry in a real browser: a model uploaded in spite of breaks, found, compared, moved, deployed."""

import hashlib
import pickle
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.models import save_mlp

from support.browser import CHROMIUM, fits, launched, watched
from support.shell import Shell

pytestmark = [
    pytest.mark.system,
    pytest.mark.timeout(300),
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine"),
]
PART = 8 * 1024 * 1024


@pytest.fixture(scope="module")
def yard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    made = Shell(tmp_path_factory.mktemp("registry-page") / "home")
    yield made
    made.run("down")


@pytest.fixture(scope="module")
def address(yard: Shell) -> str:
    return yard.json("up")["control"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with launched() as opened:
        yield opened


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    with watched(browser, refused=True) as opened:
        yield opened


def folder_of(place: Path, *, seed: int = 0, hidden: int = 8, more: int = 0) -> Path:
    """A model with a card, and a file of ``more`` bytes beside it."""
    place.mkdir()
    save_mlp(place / "model.onnx", seed=seed, sizes=(4, hidden, 3))
    (place / "README.md").write_text(
        "---\nlicense: mit\n---\n# Payments\n<script>document.title = 'owned'</script>\n"
    )
    if more:
        (place / "data").mkdir()
        (place / "data" / "extra.bin").write_bytes(hashlib.shake_256(str(seed).encode()).digest(more))
    return place


def drop(page: Any, *paths: Path) -> None:
    """Drop files or folders on the page as a file manager does."""
    wire = page.context.new_cdp_session(page)
    data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        wire.send("Input.dispatchDragEvent", {"type": kind, "x": 640, "y": 240, "data": data})


def upload(page: Any, address: str, folder: Path, name: str) -> None:
    """By the chooser of folders, to the version's page."""
    page.goto(f"{address}/upload")
    page.set_input_files("#choose-folder", str(folder))
    page.fill("#name", name)
    page.click("#go")
    page.wait_for_url(re.compile(rf"/models/{name}/versions/"), timeout=60_000)


def test_digests_of_the_browser_are_those_of_hashlib(address: str, page: Any, tmp_path: Path) -> None:
    chance = random.Random(7)
    sizes = [
        0,
        1,
        3,
        55,
        56,
        57,
        63,
        64,
        65,
        119,
        120,
        128,
        1000,
        4 * 1024 * 1024 - 1,
        4 * 1024 * 1024 + 65,
    ]
    files = [tmp_path / f"{number:02}" for number in range(len(sizes))]
    for file, size in zip(files, sizes, strict=True):
        file.write_bytes(chance.randbytes(size))
    page.goto(f"{address}/upload")
    page.set_input_files("#choose-files", [str(file) for file in files])
    found = page.evaluate(
        "(async () => { const sending = new Sending(files, {state() {}, far() {}}); await sending.hash();"
        " return files.map(({path, sha256}) => [path, sha256]); })()"
    )
    assert found == [[file.name, hashlib.sha256(file.read_bytes()).hexdigest()] for file in files]


def test_the_known_vectors_of_sha_256(address: str, page: Any) -> None:
    page.goto(f"{address}/upload")
    page.add_script_tag(url="/static/sha256.js")
    digest = "text => new Sha256().update(new TextEncoder().encode(text)).digest()"
    # Of FIPS 180-4's examples: https://csrc.nist.gov/projects/cryptographic-standards-and-guidelines/example-values
    for text, expected in (
        ("abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        ("", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        (
            "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
        ),
        ("a" * 1_000_000, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"),
    ):
        assert page.evaluate(digest, text) == expected


def test_an_upload_goes_on_after_a_reload_and_a_part_that_failed(
    address: str, browser: Any, tmp_path: Path
) -> None:
    folder = folder_of(tmp_path / "Card Fraud", more=5 * PART + 17)
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(120_000)  # the bodies of all that is routed go through the test
    page = context.new_page()
    sent: list[str] = []

    def first_two(route: Any) -> None:
        sent.append(route.request.url)
        if len(sent) <= 2:
            route.continue_()
        else:
            route.abort()  # the others never arrive, however often they are sent

    page.route("**/parts/*", first_two)
    page.goto(f"{address}/upload")
    page.set_input_files("#choose-folder", str(folder))
    assert page.input_value("#name") == "card-fraud"
    assert page.locator("#list tr").count() == 3
    page.click("#go")
    while "16.8 MB of" not in page.inner_text("#far"):
        page.wait_for_timeout(50)
    page.reload()  # before they are let through: else some would still arrive
    page.unroute("**/parts/*")

    again: list[str] = []

    def fail_once(route: Any) -> None:
        again.append(route.request.url)
        if len(again) == 1:
            body = '{"error": "Not now.", "code": "unavailable", "retryable": true, "request_id": "x"}'
            route.fulfill(status=503, content_type="application/json", body=body)
        else:
            route.continue_()

    page.route("**/parts/*", fail_once)
    page.set_input_files("#choose-folder", str(folder))
    page.fill("#name", "fraud")
    page.click("summary >> text=More of the card")
    page.fill("#task", "fraud-detection")
    page.fill("#tags", "money, risk")
    page.click("#go")
    page.wait_for_url(f"{address}/models/fraud/versions/1")
    assert len(set(again)) == 4  # of six parts two had come before
    assert page.title() == "fraud/1 · Modelyard"
    digest = hashlib.sha256((folder / "data" / "extra.bin").read_bytes()).hexdigest()
    assert page.locator(f"code[title='{digest}']").count() == 1
    context.close()


def test_a_folder_is_dropped_found_compared_and_its_alias_moved(
    address: str, page: Any, tmp_path: Path
) -> None:
    upload(page, address, folder_of(tmp_path / "one"), "shop")
    page.goto(f"{address}/upload")
    drop(page, folder_of(tmp_path / "two", seed=1, hidden=16))
    page.wait_for_selector("#list tr")
    assert page.locator("#list td.path").all_inner_texts() == ["README.md", "model.onnx"]
    page.fill("#name", "shop")
    page.click("#go")
    page.wait_for_url(f"{address}/models/shop/versions/2", timeout=60_000)
    assert "<script>document.title = 'owned'</script>" in page.inner_text("#card")

    # Found by what it is.
    page.goto(f"{address}/models")
    page.fill("#text", "paym")
    page.press("#text", "Enter")
    page.click(".facets a >> text=MIT")
    page.click("a.name >> text=shop")
    assert page.url == f"{address}/models/shop/versions/2"

    # Compared with the version before.
    page.click("#versions a >> text=compare")
    assert "[4, 16]" in page.inner_text("main")

    # production names version 1, then 2; of two who looked at the same page the slower one is told.
    page.goto(f"{address}/models/shop/versions/1")
    page.click("summary >> text=New alias")
    page.fill("#alias", "production")
    page.fill("#why-new", "first")
    page.click("button >> text=Point it at 1")
    page.wait_for_url(f"{address}/models/shop/versions/1#history")
    page.goto(f"{address}/models/shop")
    other = page.context.new_page()
    other.goto(f"{address}/models/shop")
    for each, why in ((page, "a week without alarms"), (other, "too late")):
        each.click("summary >> text=production")
        each.fill("#why-production", why)
        each.click("button >> text=Move it from 1 to 2")
        each.wait_for_load_state()
    assert "a week without alarms" in page.inner_text("#history tbody tr:first-child")
    assert "This was not done" in other.inner_text(".notice.bad")
    assert "version 2 now" in other.inner_text(".notice.bad")


def test_what_runs_code_is_refused_and_taken_when_it_is_trusted(
    address: str, page: Any, tmp_path: Path
) -> None:
    from sklearn.linear_model import LinearRegression

    file = tmp_path / "model.pkl"
    file.write_bytes(pickle.dumps(LinearRegression().fit([[0.0], [1.0]], [0.0, 1.0])))
    page.goto(f"{address}/upload")
    page.set_input_files("#choose-files", str(file))
    page.fill("#name", "line")
    page.click("#go")
    page.wait_for_selector("#refused:not([hidden])", timeout=60_000)
    assert "loading one runs whatever code is in it" in page.inner_text("#reason")
    page.fill("#because", "I made it")
    page.click("#trusted")
    page.wait_for_url(f"{address}/models/line/versions/1", timeout=60_000)
    assert "I made it" in page.inner_text("#safety")


def test_an_upload_that_is_cancelled_leaves_no_version(
    address: str, page: Any, yard: Shell, tmp_path: Path
) -> None:
    page.route("**/blobs/*", lambda route: None)  # nothing arrives
    page.goto(f"{address}/upload")
    page.set_input_files("#choose-folder", str(folder_of(tmp_path / "gone", seed=9)))
    page.click("#go")
    page.wait_for_selector("#cancel:not([hidden])")
    page.click("#cancel")
    page.wait_for_selector("#told:not([hidden])")
    assert "Cancelled" in page.inner_text("#told")
    page.unroute("**/blobs/*")
    assert page.is_enabled("#go")
    assert not [each for each in yard.json("models", "list")["versions"] if each["model"] == "gone"]


def test_a_version_is_deployed_from_its_page(address: str, page: Any, tmp_path: Path) -> None:
    upload(page, address, folder_of(tmp_path / "served", seed=5), "served")
    page.click("summary >> text=Deploy this version")
    page.click("button >> text=Deploy")
    page.wait_for_url(re.compile("/jobs/"))
    page.wait_for_selector("text=It serves", timeout=200_000)
    page.click("main a >> text=served")
    assert "x" in page.inner_text(".signature")


def test_an_entry_of_the_catalog_is_deployed_from_its_page(browser: Any, tmp_path: Path) -> None:
    mirror = tmp_path / "mirror"
    (mirror / "resnet50-onnx").mkdir(parents=True)  # of an adapter that takes any file of its format
    save_mlp(mirror / "resnet50-onnx" / "model.onnx", sizes=(4, 8, 3))
    yard = Shell(tmp_path / "home", MODELYARD_MIRROR=str(mirror))
    try:
        address = yard.json("up")["control"]
        with watched(browser) as page:
            page.goto(f"{address}/catalog/resnet50-onnx")
            page.fill("#endpoint", "pictures")
            page.click("button >> text=Deploy")
            page.wait_for_url(re.compile("/jobs/"))
            page.wait_for_selector("text=It serves", timeout=200_000)
            page.set_viewport_size({"width": 360, "height": 900})
            assert fits(page)
            page.click("main a >> text=pictures")
            assert "x" in page.inner_text(".signature")
            page.goto(f"{address}/catalog/resnet50-onnx")
            page.fill("#endpoint", "pictures")
            page.click("button >> text=Deploy")  # again: nothing is fetched or built anew
            page.wait_for_selector("text=It serves", timeout=200_000)
    finally:
        yard.run("down")


def test_who_has_signed_in_uploads_with_the_cookie(browser: Any, tmp_path: Path) -> None:
    yard = Shell(tmp_path / "home", MODELYARD_AUTHENTICATION="true")
    context = browser.new_context()
    opened = context.new_page()
    try:
        address = yard.json("up")["control"]
        opened.goto(f"{address}/upload")
        assert opened.url == f"{address}/login"
        opened.fill("#key", (yard.home / "key").read_text().strip())
        opened.click("button >> text=Sign in")
        opened.wait_for_url(f"{address}/")
        upload(opened, address, folder_of(tmp_path / "mine"), "mine")
        assert "the key of this home" in opened.inner_text("#origin")
        opened.goto(f"{address}/upload")
        opened.set_input_files("#choose-folder", str(tmp_path / "mine"))
        context.clear_cookies()
        opened.click("#go")
        opened.wait_for_selector("#refused:not([hidden])")
        assert "You are signed out" in opened.inner_text("#reason")
    finally:
        context.close()
        yard.run("down")


@pytest.mark.parametrize("width", [360, 1280])
def test_nothing_sticks_out_and_every_field_has_a_label(
    address: str, browser: Any, tmp_path: Path, width: int
) -> None:
    context = browser.new_context(viewport={"width": width, "height": 900})
    opened = context.new_page()
    upload(opened, address, folder_of(tmp_path / "wide", seed=20 + width), f"wide-{width}")
    model = f"/models/wide-{width}"
    for path in (
        "/models",
        "/models?text=nothing",
        model,
        f"{model}/compare",
        "/catalog",
        "/catalog/esm2-8m",
        "/upload",
        "/jobs/0",
        "/nothing/at/all",
    ):
        opened.goto(address + path)
        assert fits(opened), path
        nameless = opened.evaluate(
            "[...document.querySelectorAll('input:not([type=hidden]), select, textarea, progress')]"
            ".filter(each => !each.labels?.length && !each.ariaLabel).length"
        )
        assert nameless == 0, path
        assert opened.locator("h1").count() == 1, path
    context.close()
