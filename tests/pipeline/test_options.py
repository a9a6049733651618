"""What a new revision is set to: the given over the former, and fallbacks that can work. On a real database."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from modelyard.core.deployment import DeploymentSettings
from modelyard.core.errors import Conflict, InvalidInput
from modelyard.core.manifest import FileEntry, Manifest
from modelyard.core.model import Analysis
from modelyard.pipeline.options import refuse_while_needed, settled
from modelyard.store.database import Database
from modelyard.store.endpoints import Endpoints
from modelyard.store.versions import Versions

HOME = Path("/nowhere")
Deploy = Callable[..., DeploymentSettings]


@pytest.fixture
def endpoints(place: Path | str) -> Iterator[Endpoints]:
    database = Database(place)
    database.migrate()
    entry = FileEntry(path="model.onnx", size=1, sha256="0" * 64)
    Versions(database).add("m", Manifest(files=(entry,)), Analysis(format="onnx", adapter="onnx"), False)
    yield Endpoints(database)
    database.close()


@pytest.fixture
def deploy(endpoints: Endpoints, tmp_path: Path) -> Deploy:
    """Deploys with some options, and says what the revision is set to."""

    def deploy(endpoint: str, *, reset: bool = False, **given: Any) -> DeploymentSettings:
        settings = settled(endpoints, endpoint, given, home=tmp_path / "home", reset=reset)
        return endpoints.deploy(endpoint, "m", 1, settings, "e").settings

    return deploy


def test_the_first_time_what_is_not_given_is_the_default(deploy: Deploy) -> None:
    assert deploy("a") == DeploymentSettings()


def test_what_is_not_given_again_stays(deploy: Deploy) -> None:
    first = deploy("a", replicas=2, serving={"max_batch": 8, "cache": 1000}, resources={"threads": 1})
    assert deploy("a") == first
    changed = deploy("a", serving={"cache": 0})
    assert changed.serving.cache == 0
    assert (changed.replicas, changed.serving.max_batch, changed.resources.threads) == (2, 8, 1)


def test_with_reset_everything_begins_anew(deploy: Deploy) -> None:
    deploy("a", replicas=2, serving={"max_batch": 8})
    assert deploy("a", reset=True, serving={"timeout": 5.0}) == DeploymentSettings().changed(
        {"serving": {"timeout": 5.0}}
    )


def test_an_option_of_a_deployment_that_failed_stays_too(deploy: Deploy, endpoints: Endpoints) -> None:
    deploy("a", serving={"max_batch": 8})
    endpoints.set_state(endpoints.get("a").wanted, "failed", "no weights")
    assert deploy("a").serving.max_batch == 8


@pytest.mark.parametrize(
    "given", [{"serving": {"max_bach": 8}}, {"replica": 2}, {"serving": {"max_batch": "8"}}, {"serving": 3}]
)
def test_what_cannot_be_an_option_is_told(deploy: Deploy, given: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput) as told:
        deploy("a", **given)
    assert told.value.field == "settings"


def test_a_fallback_that_does_not_exist_is_refused_with_the_endpoints_that_do(deploy: Deploy) -> None:
    deploy("a")
    deploy("b")
    with pytest.raises(InvalidInput, match=r"'c' is no endpoint; the others are: b") as told:
        deploy("a", serving={"fallback": "c"})
    assert told.value.field == "settings.serving.fallback"


def test_no_endpoint_is_its_own_fallback(deploy: Deploy) -> None:
    deploy("a")
    with pytest.raises(InvalidInput, match="its own fallback"):
        deploy("a", serving={"fallback": "a"})


def test_fallbacks_that_lead_in_a_circle_are_refused(deploy: Deploy) -> None:
    deploy("c")
    deploy("b", serving={"fallback": "c"})
    deploy("a", serving={"fallback": "b"})
    with pytest.raises(InvalidInput, match="c -> a -> b -> c"):
        deploy("c", serving={"fallback": "a"})
    deploy("b", reset=True)
    assert deploy("c", serving={"fallback": "a"}).serving.fallback == "a"


def test_a_kept_fallback_is_kept_until_none_is_said(deploy: Deploy) -> None:
    deploy("b")
    deploy("a", serving={"fallback": "b"})
    assert deploy("a").serving.fallback == "b"
    assert deploy("a", serving={"fallback": None}).serving.fallback is None


def test_a_fallback_of_others_is_not_deleted(deploy: Deploy, endpoints: Endpoints) -> None:
    deploy("b")
    deploy("a", serving={"fallback": "b"})
    with pytest.raises(Conflict, match="the fallback of a"):
        refuse_while_needed(endpoints, "b")
    refuse_while_needed(endpoints, "a")
    deploy("a", reset=True)
    refuse_while_needed(endpoints, "b")


def test_remotes_alone_can_be_a_fallback(endpoints: Endpoints) -> None:
    given = {"serving": {"fallback": "far"}}
    with pytest.raises(InvalidInput, match="the others are: near"):
        settled(endpoints, "a", given, home=HOME, elsewhere=["near"])
    assert settled(endpoints, "a", given, home=HOME, elsewhere=["far"]).serving.fallback == "far"


def test_leave_for_folders_is_kept_until_it_is_said_otherwise(deploy: Deploy, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    folders = [str(tmp_path / "data"), f"{tmp_path / 'data'}:rw"]
    assert deploy("a", leave={"folders": folders, "network": True}).leave.folders == tuple(folders)
    assert deploy("a").leave.network is True
    assert deploy("a", leave={"network": None}).leave.network is None
    assert deploy("a", leave={"folders": []}).leave.folders == ()


@pytest.mark.parametrize(
    ("folder", "why"),
    [
        ("data", "absolute"),
        ("{tmp}/data/../home", "absolute"),
        ("{tmp}/nowhere:rw", "no folder"),
        ("{tmp}/file", "no folder"),
        ("{tmp}/home/versions", "platform's own files"),
        ("{tmp}/link:rw", "platform's own files"),
        ("{tmp}", "platform's own files"),
        ("/", "platform's own files"),
    ],
)
def test_a_folder_that_no_model_may_reach_is_refused(
    deploy: Deploy, tmp_path: Path, folder: str, why: str
) -> None:
    (tmp_path / "home" / "versions").mkdir(parents=True)
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "home" / "versions")
    with pytest.raises(InvalidInput, match=why) as caught:
        deploy("a", leave={"folders": [folder.format(tmp=tmp_path)]})
    assert caught.value.field == "settings.leave.folders"
