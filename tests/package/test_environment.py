"""Environments are built once, shared, whole or not there, and say what is wrong when they cannot be."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from modelyard.core.errors import ModelyardError, NotFound, RejectedContent, Unavailable
from modelyard.package.environment import Environments, Links
from modelyard.package.interpreter import base_python
from modelyard.package.locks import hold

SMALL = ["iniconfig>=2"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "environments"


def unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is fetched from now on goes nowhere, at once."""
    for name in ("ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")


def nowhere(monkeypatch: pytest.MonkeyPatch, root: Path) -> None:
    """As :func:`unreachable`, and neither a cache nor an index on this machine's own disk."""
    unreachable(monkeypatch)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("UV_CACHE_DIR", str(root.parent / "empty"))


def left_over(root: Path) -> list[str]:
    return sorted(path.name for path in root.glob(".building-*")) + sorted(
        path.name for path in root.glob(".locks/*")
    )


def files_of(root: Path) -> list[tuple[Path, int, int]]:
    """Everything, with what would change with it; but for the time of the last use."""
    found = (path for path in sorted(root.rglob("*")) if path.parent.name != ".used")
    return [(path, path.lstat().st_mtime_ns, path.lstat().st_ino) for path in found]


def run(python: str, code: str) -> str:
    return subprocess.run([python, "-c", code], check=True, capture_output=True, text=True).stdout.strip()


def test_the_environment_has_what_was_asked_for_and_nothing_of_modelyards(root):
    said: list[str] = []
    environment = Environments(root).ensure(SMALL, said.append)
    assert run(environment.python, "import iniconfig; print(iniconfig.__name__)") == "iniconfig"
    code = "import importlib.util as u; print(u.find_spec('modelyard'), u.find_spec('msgspec'))"
    assert run(environment.python, code) == "None None"
    assert environment.lock.startswith("iniconfig==2")
    assert environment.size > 1000
    assert [line for line in said if not line.startswith("download")] == [
        "resolving",
        "installing 1 package",
    ]


def test_the_interpreter_is_the_one_that_modelyard_runs_on(root):
    environment = Environments(root).ensure([])
    assert run(environment.python, "import sys; print(sys.version)") == sys.version
    assert str(Path(environment.python).resolve()) == str(base_python().resolve())


def test_a_second_ensure_needs_no_network_and_touches_nothing(root, monkeypatch):
    first = Environments(root).ensure(SMALL)
    before = files_of(root)
    unreachable(monkeypatch)
    monkeypatch.setenv("UV_CACHE_DIR", str(root.parent / "empty"))
    said: list[str] = []
    again = Environments(root).ensure(["Iniconfig >= 2   # the same", "", "# comment"], said.append)
    assert again == first
    assert said == []
    assert files_of(root) == before


def test_other_requirements_that_resolve_to_the_same_lock_share_the_environment(root):
    environments = Environments(root)
    first = environments.ensure(["iniconfig==2.1.0"])
    second = environments.ensure(["iniconfig<=2.1.0,>2"])
    assert second.id == first.id
    assert [each.id for each in environments.list()] == [first.id]


def test_other_versions_are_another_environment(root):
    environments = Environments(root)
    assert environments.ensure(["iniconfig==2.1.0"]).id != environments.ensure(["iniconfig==2.0.0"]).id
    assert len(environments.list()) == 2


def test_a_lockfile_builds_the_very_versions_again_and_they_stay(root):
    first = Environments(root).ensure(["iniconfig==2.0.0"])
    lockfile = msgspec.structs.replace(
        Environments(root).lockfile(first.id), requirements=("iniconfig>=2",)
    )
    elsewhere = Environments(root.parent / "elsewhere")
    said: list[str] = []
    again = elsewhere.rebuild(lockfile, said.append)
    assert (again.id, again.lock) == (first.id, "iniconfig==2.0.0\n")
    assert run(again.python, "import importlib.metadata as m; print(m.version('iniconfig'))") == "2.0.0"
    assert "installing 1 package" in said and "resolving" not in said
    # Whoever asks for the same from now on has them as well.
    assert elsewhere.ensure(["iniconfig>=2"]).id == first.id
    assert elsewhere.rebuild(lockfile) == again
    assert left_over(root.parent / "elsewhere") == []


def test_a_lockfile_says_which_build_of_pytorch_it_was(root):
    environments = Environments(root)
    made = environments.ensure(SMALL)
    assert environments.has(made.id)
    assert environments.lockfile(made.id).torch_arguments == made.torch_arguments
    shutil.rmtree(root / made.id / "bin")
    assert not environments.has(made.id)
    assert not environments.has("0" * 32)


@pytest.mark.parametrize(
    ("lock", "interpreter"), [("iniconfig==99.0.0\n", None), ("", "CPython 3.39.1 linux-x86_64")]
)
def test_a_lockfile_that_cannot_be_fulfilled_here_is_refused_and_leaves_nothing(root, lock, interpreter):
    environments = Environments(root)
    lockfile = environments.lockfile(environments.ensure([]).id)
    wrong = msgspec.structs.replace(
        lockfile, requirements=("iniconfig",), lock=lock, interpreter=interpreter or lockfile.interpreter
    )
    with pytest.raises(RejectedContent):
        environments.rebuild(wrong)
    assert left_over(root) == []
    assert environments.ensure(["iniconfig"]).lock.startswith("iniconfig==2")  # it was not remembered


def test_requirements_at_odds_are_named_in_the_refusal(root):
    with pytest.raises(RejectedContent) as caught:
        Environments(root).ensure(["numpy<1.20", "scikit-learn==1.5.0"])
    assert "numpy<1.20" in caught.value.message
    assert "scikit-learn==1.5.0" in caught.value.message
    assert left_over(root) == []


def test_a_package_that_does_not_exist_is_named(root):
    with pytest.raises(RejectedContent, match="no package named 'modelyard-no-such-package'"):
        Environments(root).ensure(["modelyard-no-such-package"])


def test_a_version_that_does_not_exist_is_named(root):
    with pytest.raises(RejectedContent, match=r"no version of iniconfig==99"):
        Environments(root).ensure(["iniconfig==99"])


def test_an_index_that_cannot_be_reached_is_unavailable_and_leaves_nothing(root, monkeypatch):
    nowhere(monkeypatch, root)
    with pytest.raises(Unavailable, match="cannot be fetched"):
        Environments(root).ensure(SMALL)
    assert Environments(root).list() == []
    assert left_over(root) == []


def test_without_an_index_what_is_cached_is_enough(root, monkeypatch):
    Environments(root).ensure(SMALL)
    unreachable(monkeypatch)
    said: list[str] = []
    again = Environments(root.parent / "elsewhere").ensure(SMALL, said.append)
    assert Path(again.python).exists()
    assert any("cached" in line for line in said)


def test_an_index_that_goes_away_between_resolving_and_installing_is_unavailable(root, monkeypatch):
    environments = Environments(root)
    first = environments.ensure(SMALL)
    shutil.rmtree(root / first.id)
    nowhere(monkeypatch, root)
    with pytest.raises(Unavailable):
        environments.ensure(SMALL)
    assert left_over(root) == []


def test_an_environment_whose_interpreter_is_gone_is_built_again(root):
    environments = Environments(root)
    first = environments.ensure(SMALL)
    Path(first.python).unlink()
    assert environments.list() == []
    again = environments.ensure(SMALL)
    assert again.id == first.id
    assert run(again.python, "import iniconfig; print(1)") == "1"


def test_a_broken_description_is_built_again(root):
    environments = Environments(root)
    first = environments.ensure(SMALL)
    (root / first.id / "environment.json").write_text("{")
    (path,) = (root / ".resolutions").glob("*.json")
    path.write_text("")
    assert environments.ensure(SMALL).id == first.id


def test_delete_forgets_the_environment_and_its_resolutions(root):
    environments = Environments(root)
    first = environments.ensure(SMALL)
    environments.delete(first.id)
    assert environments.list() == []
    assert list((root / ".resolutions").iterdir()) == []
    with pytest.raises(NotFound):
        environments.get(first.id)
    with pytest.raises(NotFound):
        environments.delete(first.id)


def test_a_name_that_leaves_the_folder_is_not_an_environment(root):
    for name in ("../x", "..", ".locks", ""):
        with pytest.raises(NotFound):
            Environments(root).get(name)


BUILD = """
import sys
from pathlib import Path
from modelyard.package.environment import Environments, Links
print(Environments(Path(sys.argv[1])).ensure(sys.argv[2:], lambda line: print(line, flush=True)).id, flush=True)
"""


# It installs, and would never come to its end.
BUILD_FOR_EVER = """
import threading
from modelyard.package import environment
environment._size = lambda folder: threading.Event().wait()
"""


def builder(root: Path, *requirements: str, code: str = BUILD) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, str(root), *requirements], stdout=subprocess.PIPE, text=True
    )


def test_a_builder_that_is_killed_leaves_nothing_that_the_next_one_trusts(root):
    with builder(root, "scikit-learn", "scipy", code=BUILD_FOR_EVER + BUILD) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("installing"):
                process.send_signal(signal.SIGKILL)
                break
    assert Environments(root).list() == []
    assert list(root.glob(".building-*")) != []
    environment = Environments(root).ensure(["scikit-learn", "scipy"])
    assert run(environment.python, "import sklearn.linear_model; print(1)") == "1"
    assert left_over(root) == []


def test_sweep_removes_what_was_left_and_not_what_is_being_built(root):
    environments = Environments(root)
    kept = environments.ensure(SMALL)
    for name in (".building-dead", ".removed-dead", ".building-alive"):
        (root / name).mkdir()
    with hold(root / ".locks" / "alive", lambda: None):
        assert environments.sweep() == 2
        assert (root / ".building-alive").exists()
    assert environments.sweep() == 1
    assert environments.list() == [kept]
    assert left_over(root) == []


def test_sweep_of_a_folder_that_is_not_there_does_nothing(root):
    assert Environments(root).sweep() == 0
    assert Environments(root).list() == []


def test_two_processes_build_once(root):
    builders = [builder(root, *SMALL) for _ in range(3)]
    said = [process.communicate(timeout=240)[0].splitlines() for process in builders]
    assert {process.returncode for process in builders} == {0}
    assert len({lines[-1] for lines in said}) == 1
    assert sum("installing 1 package" in lines for lines in said) == 1
    assert left_over(root) == []


def test_two_threads_build_once(root):
    said: list[str] = []
    threads = [
        threading.Thread(target=Environments(root).ensure, args=(SMALL, said.append)) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert said.count("installing 1 package") == 1


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("a small disk can only be mounted by root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_is_unavailable_and_the_space_comes_back(small_disk):
    with pytest.raises(Unavailable, match="The disk is full"):
        Environments(small_disk / "environments").ensure(["numpy"])
    assert shutil.disk_usage(small_disk).used < 200_000
    assert left_over(small_disk / "environments") == []


def test_the_description_is_whole_json(root):
    environment = Environments(root).ensure(SMALL)
    described = json.loads((root / environment.id / "environment.json").read_text())
    assert described["requirements"] == ["iniconfig>=2"]
    assert (root / environment.id / "lock.txt").read_text() == environment.lock


def test_errors_hold_no_credentials(root, monkeypatch):
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://someone:secret@127.0.0.1:9/simple")
    nowhere(monkeypatch, root)
    with pytest.raises(ModelyardError) as caught:
        Environments(root).ensure(SMALL)
    assert "secret" not in caught.value.message


def test_what_is_used_is_not_removed_by_whom_it_only_gets_in_the_way_of(root):
    environments = Environments(root)
    environment = environments.ensure(SMALL)
    with environments.using(environment.id) as borrowed, environments.using(environment.id):
        assert borrowed == environment
        assert Environments(root).remove_if_free(environment.id) is None
    with Environments(root).using(environment.id):
        assert environments.remove_if_free(environment.id) is None
    freed = environments.remove_if_free(environment.id)
    assert freed is not None and 0 < freed <= environment.size
    assert environments.list() == [] and environments.remove_if_free(environment.id) is None
    with pytest.raises(NotFound), environments.using(environment.id):
        pass
    assert left_over(root) == []


USE = """
import sys, time
from pathlib import Path
from modelyard.package.environment import Environments, Links
with Environments(Path(sys.argv[1])).using(sys.argv[2]):
    print("using", flush=True)
    time.sleep(600)
"""


def test_a_user_that_was_killed_uses_nothing(root):
    environments = Environments(root)
    environment = environments.ensure(SMALL)
    with builder(root, environment.id, code=USE) as process:
        assert process.stdout is not None and process.stdout.readline() == "using\n"
        assert environments.remove_if_free(environment.id) is None
        process.kill()
    assert environments.remove_if_free(environment.id) is not None
    assert left_over(root) == []


def test_what_is_being_built_is_not_removed(root):
    environments = Environments(root)
    environment = environments.ensure(SMALL)
    with hold(root / ".locks" / environment.id, lambda: None):
        assert environments.remove_if_free(environment.id) is None
    assert environments.get(environment.id) == environment


def test_the_last_use_is_the_last_time_that_it_was_asked_for(root):
    environments = Environments(root)
    environment = environments.ensure(SMALL)
    os.utime(root / ".used" / environment.id, (1000, 1000))
    assert environments.last_used(environment.id) == 1000
    environments.ensure(SMALL)
    last_used = environments.last_used(environment.id)
    assert last_used is not None and last_used >= environment.created - 1
    environments.delete(environment.id)
    assert environments.last_used(environment.id) is None


def test_what_a_removal_frees_is_told_before_and_after_alike(root, tmp_path):
    """Files that uv's cache has too give nothing back; those that only two environments share do, at the end."""
    environments = Environments(root)
    one, two = environments.ensure(["iniconfig==2.1.0"]), environments.ensure(["iniconfig==2.0.0"])
    shared = root / one.id / "shared"
    shared.write_bytes(b"x" * 100_000)
    os.link(shared, root / two.id / "shared")
    seen: Links = {}
    told = [environments.freed_by(each.id, seen) for each in (one, two)]
    assert told == [environments.remove_if_free(each.id) for each in (one, two)]
    assert told[0] is not None and told[1] is not None and told[0] < 100_000 <= told[1]


def test_what_is_of_no_use_any_more_can_be_removed(root):
    """Its interpreter was uninstalled, or its description is broken, and nobody asks for it again."""
    environments = Environments(root)
    gone, broken = (environments.ensure([f"iniconfig=={version}"]).id for version in ("2.1.0", "2.0.0"))
    assert environments.remains() == []
    (root / gone / "bin" / "python").unlink()
    (root / broken / "environment.json").write_text("{")
    assert [name for name, _ in environments.remains()] == sorted([gone, broken])
    assert environments.remove_if_free(gone) is not None
    assert environments.remove_if_free(broken) is not None
    assert environments.remains() == [] and environments.remove_if_free(gone) is None
    assert left_over(root) == []


def test_removing_and_asking_at_once_leaves_what_was_asked_for(root):
    environments = Environments(root)
    over = threading.Event()
    wrong: list[BaseException] = []

    def remove() -> None:
        while not over.is_set():
            for each in Environments(root).list():
                Environments(root).remove_if_free(each.id)

    def ask() -> None:
        try:
            for _ in range(8):
                asked = Environments(root).ensure(SMALL)
                try:
                    with environments.using(asked.id) as environment:
                        assert run(environment.python, "import iniconfig; print(1)") == "1"
                except NotFound:
                    pass  # removed in between: it is asked for again
        except BaseException as error:
            wrong.append(error)

    askers = [threading.Thread(target=ask) for _ in range(2)]
    remover = threading.Thread(target=remove)
    for thread in (remover, *askers):
        thread.start()
    for thread in askers:
        thread.join()
    over.set()
    remover.join()
    assert wrong == []
    assert left_over(root) == []
