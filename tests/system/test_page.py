"""The pages in a real browser, on a real platform with a real model: fill in the form, see the prediction."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy
import onnxruntime
import pytest
from tests.support.models import save_mlp

from support.browser import CHROMIUM, fits, launched, watched
from support.shell import Shell

pytestmark = [
    pytest.mark.system,
    pytest.mark.timeout(300),
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine"),
]


@pytest.fixture(scope="module")
def yard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    made = Shell(tmp_path_factory.mktemp("page") / "home")
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
    with watched(browser) as opened:
        yield opened


@pytest.fixture(scope="module")
def mlp(yard: Shell, address: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = save_mlp(tmp_path_factory.mktemp("mlp") / "model.onnx", sizes=(4, 8, 3))
    yard.json("deploy", str(model), "--name", "mlp")
    return model


def test_the_first_page_tells_the_first_command(address: str, yard: Shell, page: Any) -> None:
    if yard.json("endpoints"):
        pytest.skip("another test has deployed already")
    page.goto(address)
    assert "modelyard deploy ./model.onnx" in page.inner_text("main")


def test_a_prediction_by_the_form_is_the_model_own(address: str, mlp: Path, page: Any) -> None:
    page.goto(address)
    page.click("a.name >> text=mlp")
    page.fill("[name='input.x']", "[0.5, -1, 2, 0.25]")
    page.click("button >> text=Predict")
    shown = json.loads(page.inner_text(".answer dd pre"))
    record = numpy.array([[0.5, -1, 2, 0.25]], "float32")
    (expected,) = onnxruntime.InferenceSession(str(mlp)).run(None, {"x": record})
    assert numpy.allclose(shown, expected[0], atol=1e-4)
    assert page.input_value("[name='input.x']") == "[0.5, -1, 2, 0.25]"


def test_a_wrong_input_is_marked_where_it_is(address: str, mlp: Path, page: Any) -> None:
    page.goto(f"{address}/endpoints/mlp")
    page.fill("[name='input.x']", "[1, 2]")
    page.click("button >> text=Predict")
    assert "invalid_input" in page.inner_text(".answer")
    page.wait_for_load_state()
    assert page.locator(".field.wrong [name='input.x']").count() == 1


def test_the_table_refreshes_by_itself(address: str, mlp: Path, yard: Shell, page: Any) -> None:
    page.goto(address)
    page.evaluate("document.querySelector('#endpoints').innerHTML = 'stale'")
    page.wait_for_selector("a.name >> text=mlp", timeout=60_000)
    assert page.locator(".state.ready").count() >= 1


def test_the_pages_work_without_scripts(address: str, mlp: Path, browser: Any) -> None:
    context = browser.new_context(java_script_enabled=False)
    opened = context.new_page()
    opened.goto(f"{address}/endpoints/mlp")
    opened.fill("[name='input.x']", "[1, 2, 3, 4]")
    opened.click("button >> text=Predict")
    opened.wait_for_selector(".answer dd pre")
    assert opened.locator(".answer dd pre").count() == 1
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1280])
def test_nothing_sticks_out_at_any_width(
    address: str, mlp: Path, browser: Any, width: int, scheme: str, tmp_path: Path
) -> None:
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    opened = context.new_page()
    for number, path in enumerate(["/", "/endpoints/mlp", "/endpoints/nothing"]):
        opened.goto(address + path)
        assert fits(opened), path
        opened.screenshot(path=tmp_path / f"{number}.png", full_page=True)
    context.close()


def test_a_model_that_does_not_start_shows_its_report(
    address: str, yard: Shell, page: Any, tmp_path: Path
) -> None:
    (tmp_path / "model.py").write_text(
        "def predict(text: str):\n    return text\nraise RuntimeError('<b>no weights</b>')\n"
    )
    assert yard.run("deploy", str(tmp_path), "--name", "broken").returncode == 1
    page.goto(address)
    assert page.locator(".state.failed").count() == 1
    page.click("a.name >> text=broken")
    report = page.inner_text("#failure")
    assert "RuntimeError: <b>no weights</b>" in report  # shown as text, never as markup


def test_with_authentication_the_key_is_asked_for(browser: Any, tmp_path: Path) -> None:
    yard = Shell(tmp_path / "home", MODELYARD_AUTHENTICATION="true")
    context = browser.new_context()
    opened = context.new_page()
    try:
        address = yard.json("up")["control"]
        opened.goto(address)
        assert opened.url == f"{address}/login"
        opened.fill("#key", "wrong")
        opened.click("button >> text=Sign in")
        assert "not known" in opened.inner_text(".why")
        opened.fill("#key", (yard.home / "key").read_text().strip())
        opened.click("button >> text=Sign in")
        opened.wait_for_url(f"{address}/")
        assert "Nothing is deployed yet" in opened.inner_text("main")
        (cookie,) = context.cookies()
        assert (cookie["name"], cookie["httpOnly"], cookie["sameSite"]) == ("modelyard_key", True, "Strict")
        opened.click("button >> text=Sign out")
        opened.wait_for_url(f"{address}/login")
        opened.goto(address)
        assert opened.url == f"{address}/login"
    finally:
        context.close()
        yard.run("down")
