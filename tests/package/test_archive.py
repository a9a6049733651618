"""Archives, honest and hostile: what comes out stays in its folder and within its bounds."""

import io
import os
import stat
import tarfile
import warnings
import zipfile
from pathlib import Path

import pytest

from modelyard.core.errors import InvalidInput, NotFound, RejectedContent
from modelyard.package.address import file_address
from modelyard.package.archive import Limits, is_archive, unpack
from modelyard.package.url import bring
from support.web import Web

FILES = {"tiny/config.json": b"{}", "tiny/weights/model.bin": bytes(100_000), "tiny/README": b"hello"}
FORMS = {".tar": "w", ".tar.gz": "w:gz", ".tgz": "w:gz", ".tar.xz": "w:xz", ".tar.bz2": "w:bz2"}


def tar(
    path: Path, files: dict[str, bytes], mode: str = "w", *, more: list[tarfile.TarInfo] | None = None
) -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
        for member in more or ():
            archive.addfile(member)
    return path


def zipped(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


def opened(archive: Path, tmp_path: Path, limits: Limits | None = None) -> tuple[Path, list[str]]:
    said: list[str] = []
    options = {} if limits is None else {"limits": limits}
    return unpack(archive, tmp_path / "to", progress=said.append, **options), said


def contents(top: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(top)): path.read_bytes() for path in sorted(top.rglob("*")) if path.is_file()
    }


@pytest.mark.parametrize("suffix", [*FORMS, ".zip"])
def test_every_form_is_unpacked_and_the_only_folder_is_the_top(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"tiny{suffix}"
    assert is_archive(path.name)
    archive = zipped(path, FILES) if suffix == ".zip" else tar(path, FILES, FORMS[suffix])
    top, _ = opened(archive, tmp_path)
    assert top == tmp_path / "to" / "tiny"
    assert contents(top) == {name.removeprefix("tiny/"): data for name, data in FILES.items()}


def test_what_is_a_model_though_it_is_a_zip_is_none() -> None:
    assert not any(
        map(is_archive, ("model.pt", "model.keras", "m.skops", "m.npz", "model.bin.zst", "w.gz", "zip"))
    )


def test_modes_and_owners_of_the_archive_are_not_taken(tmp_path: Path) -> None:
    member = tarfile.TarInfo("run")
    member.mode, member.uid = 0o6777, 12345
    top, _ = opened(tar(tmp_path / "a.tar", {}, more=[member]), tmp_path)
    found = (top / "run").stat()
    assert stat.S_IMODE(found.st_mode) & 0o6111 == 0
    assert found.st_uid == os.getuid()


@pytest.mark.parametrize(
    "name", ["../out", "a/../../out", "/tmp/out-of-it", "a\\b", "a\nb", "x" * 300, "a/" * 600 + "b", "C:/x"]
)
@pytest.mark.parametrize("form", ["tar", "zip"])
def test_a_path_that_is_none_inside_a_folder_is_refused(tmp_path: Path, name: str, form: str) -> None:
    path = tmp_path / f"a.{form}"
    archive = zipped(path, {name: b"x"}) if form == "zip" else tar(path, {name: b"x"})
    with pytest.raises(RejectedContent):
        opened(archive, tmp_path)
    assert [each for each in tmp_path.rglob("*") if each.is_file()] == [archive]
    assert not Path("/tmp/out-of-it").exists()


def test_links_inside_become_files_and_others_are_left_out(tmp_path: Path) -> None:
    more = [
        link("tiny/latest.bin", "weights/model.bin"),
        link("tiny/again", "latest.bin"),  # a link to a link
        link("tiny/hard", "tiny/README", tarfile.LNKTYPE),
        link("tiny/out", "../../outside"),
        link("tiny/absolute", "/etc/passwd"),
        link("tiny/folder", "weights"),
        link("tiny/nothing", "missing"),
        link("tiny/round", "round"),
    ]
    top, said = opened(tar(tmp_path / "a.tar", FILES, more=more), tmp_path)
    assert not any(path.is_symlink() for path in top.rglob("*"))
    found = contents(top)
    assert found["latest.bin"] == found["again"] == FILES["tiny/weights/model.bin"]
    assert found["hard"] == b"hello"
    assert not {"out", "absolute", "folder", "nothing", "round"} & {path.name for path in top.iterdir()}
    assert said[-1].startswith("left out 5 link(s)")


def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    archive = tmp_path / "a.tar"
    with tarfile.open(archive, "w") as made:
        made.addfile(link("d", str(outside)))
        member = tarfile.TarInfo("d/x")
        member.size = 1
        made.addfile(member, io.BytesIO(b"x"))
        made.addfile(link("f", "../outside/y"))
        member = tarfile.TarInfo("f")
        member.size = 1
        made.addfile(member, io.BytesIO(b"x"))
    top, _ = opened(archive, tmp_path)
    assert not list(outside.iterdir())
    assert contents(top)["f"] == b"x"


def test_a_link_of_a_zip_is_held_to_the_same(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "a.zip", FILES)
    with zipfile.ZipFile(archive, "a") as made:
        for name, target in (("tiny/in", "README"), ("tiny/out", "/etc/passwd")):
            info = zipfile.ZipInfo(name)
            info.external_attr = (stat.S_IFLNK | 0o777) << 16
            made.writestr(info, target)
    top, said = opened(archive, tmp_path)
    assert contents(top)["in"] == b"hello"
    assert not (top / "out").exists()
    assert said[-1].startswith("left out 1")


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_devices_and_pipes_are_refused(tmp_path: Path, kind: bytes) -> None:
    member = tarfile.TarInfo("dev")
    member.type = kind
    with pytest.raises(RejectedContent, match="device or a pipe"):
        opened(tar(tmp_path / "a.tar", FILES, more=[member]), tmp_path)


@pytest.mark.parametrize("form", ["tar.gz", "tar.xz", "tar.bz2", "zip"])
def test_what_unpacks_to_far_more_than_it_is_is_a_bomb(tmp_path: Path, form: str) -> None:
    bomb = {"zeros": bytes(20_000_000)}
    path = tmp_path / f"a.{form}"
    archive = zipped(path, bomb) if form == "zip" else tar(path, bomb, f"w:{form[4:]}")
    with pytest.raises(RejectedContent, match="far more than its own size"):
        opened(archive, tmp_path, Limits(ratio=200, free=1_000_000))
    assert sum(each.stat().st_size for each in (tmp_path / "to").rglob("*")) < 12_000_000


def test_so_is_one_of_names_alone(tmp_path: Path) -> None:
    archive = tar(tmp_path / "a.tar", {f"{number}/x": b"" for number in range(100)})
    with pytest.raises(RejectedContent, match="more than 100 files"):
        opened(archive, tmp_path, Limits(names=100))


def test_so_is_one_of_headers_or_of_what_is_skipped(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz", format=tarfile.PAX_FORMAT) as made:
        member = tarfile.TarInfo("x")
        member.pax_headers = {"comment": "c" * 9_000_000}
        made.addfile(member)
    with pytest.raises(RejectedContent, match="header is too large"):
        opened(tmp_path / "a.tar.gz", tmp_path)


def test_a_sparse_file_that_promises_much_is_counted(tmp_path: Path) -> None:
    """GNU's old form: one header that says 8 GiB, and no data."""
    member = tarfile.TarInfo("sparse")
    member.type = tarfile.GNUTYPE_SPARSE
    header = bytearray(member.tobuf(tarfile.GNU_FORMAT))
    header[386:410] = b"%011o\0%011o\0" % (0, 0)
    header[483:495] = b"%011o\0" % (0o77777777777)
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    (tmp_path / "a.tar").write_bytes(bytes(header) + bytes(1024))
    with pytest.raises(RejectedContent, match="far more"):
        opened(tmp_path / "a.tar", tmp_path, Limits(free=10_000_000))


@pytest.mark.parametrize("form", ["tar", "tar.gz", "tar.xz", "tar.bz2", "zip"])
def test_what_breaks_off_is_refused(tmp_path: Path, form: str) -> None:
    path = tmp_path / f"a.{form}"
    whole = (zipped(path, FILES) if form == "zip" else tar(path, FILES, "w:" + form[4:] if "." in form else "w")).read_bytes()  # fmt: skip
    for keep in (0, 10, len(whole) // 4, len(whole) // 2):
        path.write_bytes(whole[:keep])
        with pytest.raises(RejectedContent):
            unpack(path, tmp_path / f"to{keep}", progress=print)


def test_damage_between_two_files_is_no_end(tmp_path: Path) -> None:
    path = tar(tmp_path / "a.tar", {"a": b"1", "b": b"2"})
    damaged = bytearray(path.read_bytes())
    damaged[1024 + 10] ^= 0xFF  # in the header of the second
    path.write_bytes(damaged)
    with pytest.raises(RejectedContent, match="damaged"):
        opened(path, tmp_path)


def test_a_locked_one_and_one_of_clashing_names_are_refused(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {"a": b"x"})
    data = bytearray(path.read_bytes())
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    with pytest.raises(RejectedContent, match="password"):
        opened(path, tmp_path)
    with pytest.raises(RejectedContent):
        unpack(tar(tmp_path / "b.tar", {"a": b"x", "a/b": b"y"}), tmp_path / "other", progress=print)


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (("a.txt", "a.txt"), "twice"),
        (("Model.txt", "model.TXT"), "one on some machines"),
        (("Weights/a", "weights/b"), "one on some machines"),
        (("caf\u00e9", "cafe\u0301"), "one on some machines"),
        (("\ufb01le", "file"), "one on some machines"),
        (("stra\u00dfe", "STRASSE"), "one on some machines"),
    ],
)
@pytest.mark.parametrize("form", ["tar", "zip"])
def test_two_files_that_are_one_somewhere_are_refused(
    tmp_path: Path, names: tuple[str, str], told: str, form: str
) -> None:
    path = tmp_path / f"a.{form}"
    if form == "zip":
        with warnings.catch_warnings(), zipfile.ZipFile(path, "w") as made:
            warnings.simplefilter("ignore")  # of the library, for the second
            for name in names:
                made.writestr(name, b"x")
    else:
        with tarfile.open(path, "w") as tar_made:
            for name in names:
                member = tarfile.TarInfo(name)
                member.size = 1
                tar_made.addfile(member, io.BytesIO(b"x"))
    with pytest.raises(RejectedContent, match=told):
        opened(path, tmp_path)


# --- at an address


@pytest.fixture
def packed(tmp_path: Path) -> bytes:
    return tar(tmp_path / "made.tar.gz", FILES, "w:gz").read_bytes()


def test_an_archive_at_an_address_becomes_a_folder(tmp_path: Path, packed: bytes) -> None:
    with Web({"/tiny.tar.gz": packed, "/alone.onnx": b"onnx"}).serve() as url:
        said: list[str] = []
        bring(file_address(f"{url}/tiny.tar.gz"), tmp_path / "tiny", progress=said.append)
        assert sorted(contents(tmp_path / "tiny")) == ["README", "config.json", "weights/model.bin"]
        assert any("has the SHA-256" in line and "nobody said" in line for line in said)
        for path in ("weights", "tiny/weights"):
            bring(
                file_address(f"{url}/tiny.tar.gz"),
                tmp_path / path.replace("/", "-"),
                path=path,
                progress=print,
            )
            assert sorted(contents(tmp_path / path.replace("/", "-"))) == ["model.bin"]
        bring(
            file_address(f"{url}/tiny.tar.gz"), tmp_path / "one", path="weights/model.bin", progress=print
        )
        assert sorted(contents(tmp_path / "one")) == ["model.bin"]
        bring(file_address(f"{url}/alone.onnx"), tmp_path / "alone", progress=print)
        assert contents(tmp_path / "alone") == {"alone.onnx": b"onnx"}
        for wrong in ("missing", "../made.tar.gz", "/etc/passwd"):
            with pytest.raises(NotFound):
                bring(file_address(f"{url}/tiny.tar.gz"), tmp_path / "x", path=wrong, progress=print)
        with pytest.raises(NotFound, match="no archive"):
            bring(file_address(f"{url}/alone.onnx"), tmp_path / "x", path="y", progress=print)
    left = [path.name for path in tmp_path.iterdir() if path.name.startswith(".") and path.name != ".x.url"]
    assert not left


def test_what_was_downloaded_before_a_kill_is_not_downloaded_again(tmp_path: Path, packed: bytes) -> None:
    web = Web({"/tiny.tar.gz": packed})
    with web.serve() as url:
        address = file_address(f"{url}/tiny.tar.gz")
        with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(
                "modelyard.package.url.unpack", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt)
            )
            bring(address, tmp_path / "tiny", progress=print)
        assert not (tmp_path / "tiny").exists()
        bring(address, tmp_path / "tiny", progress=print)
        assert len(web.asked) == 1
        (tmp_path / "other").mkdir()
        with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(
                "modelyard.package.url.unpack", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt)
            )
            bring(address, tmp_path / "again", progress=print)
        (tmp_path / ".again.url" / "tiny.tar.gz").write_bytes(b"damaged since")
        bring(address, tmp_path / "again", progress=print)
        assert len(web.asked) == 3


def test_a_place_holder_of_git_lfs_is_no_model(tmp_path: Path) -> None:
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"a" * 64 + b"\nsize 12345\n"
    with Web({"/model.onnx": pointer}).serve() as url, pytest.raises(RejectedContent, match="Git LFS"):
        bring(file_address(f"{url}/model.onnx"), tmp_path / "m", progress=print)


@pytest.mark.parametrize(
    ("url", "told"),
    [
        (
            "https://drive.google.com/drive/folders/1oWh_-ZRdhtoGQ2Fw24HP41FgLoomVo-y?usp=sharing",
            "Google Drive",
        ),
        ("https://zenodo.org/records/15050749", "records/NUMBER/files/NAME"),
        ("https://doi.org/10.5281/zenodo.15641296", "DOI"),
        ("https://github.com/owner/name", r"git\+https"),
        ("https://github.com/owner/name/tree/main/weights", "page of GitHub"),
        ("https://huggingface.co/owner/name", "hf://"),
    ],
)
def test_a_page_is_told_with_what_to_name(tmp_path: Path, url: str, told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        bring(file_address(url), tmp_path / "m", progress=print)
    assert not list(tmp_path.iterdir())


def test_files_on_the_same_hosts_are_no_pages() -> None:
    from modelyard.package.pages import page_at

    assert page_at("https://zenodo.org/records/10185169/files/ablang2-weights.tar.gz") is None
    assert page_at("https://github.com/ACEsuit/mace-mp/releases/download/mace_mp_0/x.model") is None
    assert page_at("https://huggingface.co/owner/name/resolve/main/model.onnx") is None
