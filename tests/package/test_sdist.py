"""Sources of packages: found by uv, checked, unpacked, and no code of them run."""

import hashlib
import io
import tarfile
from pathlib import Path

import pytest

from modelyard.core.errors import ModelyardError, NotFound, RejectedContent, Unavailable
from modelyard.package import sdist
from modelyard.package.locks import hold
from modelyard.package.sources import Sources, read_sources
from support.web import Web


def source(folder: Path, files: dict[str, bytes], name: str = "tiny-1.0") -> Path:
    """An sdist of ``tiny`` 1.0."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        for inside, data in files.items():
            member = tarfile.TarInfo(inside)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


FILES = {
    "tiny-1.0/PKG-INFO": b"Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n",
    "tiny-1.0/setup.py": b"raise SystemExit('the build of the package ran')\n",
    "tiny-1.0/tiny/__init__.py": b"raise SystemExit('code of the package ran')\n",
    "tiny-1.0/tiny/weights.bin": b"hello",
}


@pytest.fixture
def only(tmp_path: Path) -> Sources:
    """The only place that packages come from."""
    (tmp_path / "links").mkdir()
    variables = {
        name: value for name, value in read_sources().variables.items() if not name.startswith("UV_")
    }
    variables |= {
        "UV_NO_INDEX": "1",
        "UV_FIND_LINKS": str(tmp_path / "links"),
        "UV_PYTHON_DOWNLOADS": "never",
    }
    return Sources(variables)


def unpack(only: Sources, tmp_path: Path, requirement: str = "tiny==1.0") -> Path:
    with hold(tmp_path / "lock", lambda: None) as lock:
        return sdist.unpack(requirement, tmp_path / "to", sources=only, lock=lock, progress=print)


def test_a_source_is_unpacked_and_not_built(tmp_path: Path, only: Sources) -> None:
    source(tmp_path / "links", FILES)
    top = unpack(only, tmp_path)
    assert top.name == "tiny-1.0"
    assert (top / "tiny" / "weights.bin").read_bytes() == b"hello"
    assert not (tmp_path / "to" / ".lock").exists()


@pytest.mark.parametrize("path", ["../outside", "tiny-1.0/../../outside"])
def test_nothing_is_written_outside(tmp_path: Path, only: Sources, path: str) -> None:
    source(tmp_path / "links", {**FILES, path: b"x"})
    with pytest.raises(RejectedContent, match="not unpacked"):
        unpack(only, tmp_path)
    assert not list(tmp_path.rglob("outside*"))


def test_an_absolute_path_is_refused(tmp_path: Path, only: Sources) -> None:
    outside = tmp_path / "outside"
    source(tmp_path / "links", {**FILES, str(outside): b"x"})
    with pytest.raises(RejectedContent, match="absolute path"):
        unpack(only, tmp_path)
    assert not outside.exists()


def test_no_archive_is_told(tmp_path: Path, only: Sources) -> None:
    source(tmp_path / "links", FILES).write_bytes(b"not a tar file")
    with pytest.raises(ModelyardError):
        unpack(only, tmp_path)


def test_a_version_that_is_not_there_is_told(tmp_path: Path, only: Sources) -> None:
    source(tmp_path / "links", FILES)
    with pytest.raises(ModelyardError, match="tiny"):
        unpack(only, tmp_path, "tiny==2.0")


@pytest.mark.parametrize("requirement", ["tiny", "tiny>=1", "tiny==1.*"])
def test_the_newest_version_that_fits_is_taken(tmp_path: Path, only: Sources, requirement: str) -> None:
    older = {path.replace("tiny-1.0", "tiny-0.9"): data for path, data in FILES.items()}
    older["tiny-0.9/PKG-INFO"] = FILES["tiny-1.0/PKG-INFO"].replace(b"1.0", b"0.9")
    source(tmp_path / "links", older, "tiny-0.9")
    source(tmp_path / "links", FILES)
    assert unpack(only, tmp_path, requirement).name == "tiny-1.0"


def test_an_address_is_refused(tmp_path: Path, only: Sources) -> None:
    with pytest.raises(RejectedContent, match="this is an address"):
        unpack(only, tmp_path, "tiny @ https://a.example/x.tar.gz")


def test_what_is_not_what_the_index_says_is_not_used(tmp_path: Path, only: Sources) -> None:
    path = source(tmp_path / "links", FILES)
    right = hashlib.sha256(path.read_bytes()).hexdigest()
    assert sdist._downloaded(str(path), tmp_path, right, print) == path
    with pytest.raises(RejectedContent, match="checksum"):
        sdist._downloaded(str(path), tmp_path, "0" * 64, print)
    with pytest.raises(Unavailable, match="cannot be read"):
        sdist._downloaded(str(tmp_path / "missing"), tmp_path, right, print)
    with Web({"/x.tar.gz": path.read_bytes()}).serve() as url:
        got = sdist._downloaded(f"{url}/x.tar.gz", tmp_path, right, print)
        assert got.read_bytes() == path.read_bytes()
        with pytest.raises(RejectedContent, match="checksum"):
            sdist._downloaded(f"{url}/x.tar.gz", tmp_path, "0" * 64, print)


def test_the_file_is_found_in_what_uv_locked(tmp_path: Path) -> None:
    locked = {
        "package": [
            {"name": "a", "source": {"registry": "r"}, "sdist": {"url": "https://x", "hash": "sha256:1"}}
        ]
    }
    assert sdist._located(locked, "a", tmp_path) == ("https://x", "1")
    with pytest.raises(NotFound, match="no source of b"):
        sdist._located(locked, "b", tmp_path)
    locked["package"][0]["sdist"]["hash"] = "md5:1"  # type: ignore[index]
    with pytest.raises(RejectedContent):
        sdist._located(locked, "a", tmp_path)
