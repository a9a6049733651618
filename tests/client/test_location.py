"""Where the client looks for a platform, and whom it shows which key."""

from pathlib import Path

import pytest

from modelyard.client.location import locate
from modelyard.core.errors import InvalidInput, Unavailable


def make_home(root: Path) -> Path:
    (root / "run").mkdir(parents=True)
    (root / "run" / "control.url").write_text("http://127.0.0.1:8700\n")
    (root / "key").write_text("home-key\n")
    return root


def test_the_home_tells_address_and_key(tmp_path: Path) -> None:
    found = locate(home=make_home(tmp_path / "home"))
    assert (found.url, found.key) == ("http://127.0.0.1:8700", "home-key")


def test_the_variable_names_another_platform(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELYARD_HOME", str(make_home(tmp_path / "home")))
    monkeypatch.setenv("MODELYARD_URL", "https://models.example:9000/")
    monkeypatch.setenv("MODELYARD_API_KEY", "other-key")
    assert locate()[:2] == ("https://models.example:9000", "other-key")


def test_the_key_of_a_home_is_never_sent_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELYARD_HOME", str(make_home(tmp_path / "home")))
    assert locate(url="http://elsewhere:1").key is None


def test_an_argument_outweighs_the_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELYARD_URL", "http://elsewhere:1")
    assert locate(home=make_home(tmp_path / "home")).url == "http://127.0.0.1:8700"


def test_where_nothing_runs_the_error_says_how_to_start(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="modelyard up"):
        locate(home=tmp_path)


@pytest.mark.parametrize("url", ["localhost:8700", "ftp://x", "http://", "http://x:99999", "http://[::1"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(InvalidInput, match="address"):
        locate(url=url)
