"""The files of a model in a bucket of S3, Google Cloud Storage, Azure: brought whole, resumed, known again; what is refused."""

import hashlib
import os
from pathlib import Path

import obstore
import pytest

from modelyard.core.errors import Forbidden, InvalidInput, NotFound, RejectedContent
from modelyard.package import bucket as room
from modelyard.package.bucket import Bucket
from modelyard.package.source import bring, is_address
from support.azure import AzureServer
from support.clouds import Clouds, store_at
from support.gcs import GcsServer, put_plain

BIG = os.urandom(5 << 20)


@pytest.fixture(params=["s3", "gs", "az"])
def address(
    request: pytest.FixtureRequest, clouds: Clouds, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> str:
    for name, value in clouds.at(request.param).variables.items():
        monkeypatch.setenv(name, value)
    return f"{request.param}://sources/{hashlib.sha256(str(tmp_path).encode()).hexdigest()[:12]}"


def put(address: str, files: dict[str, bytes], **attributes: str) -> None:
    store = store_at(address)
    for path, data in files.items():
        obstore.put(store, path, data, attributes=attributes or None, use_multipart=False)


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_prefix_is_a_folder_that_is_fetched_once_while_it_stays_the_same(
    address: str, tmp_path: Path
) -> None:
    files = {"model.onnx": BIG, "sub/a b+c%~ü.bin": b"x", "empty": b""}
    put(address, files)
    told: list[str] = []
    assert is_address(address)
    first = bring(f"{address}/", tmp_path / "root", progress=told.append)
    assert (files_of(first.folder), first.kind) == (files, "bucket")
    told.clear()
    again = bring(address, tmp_path / "root", progress=told.append)
    assert (again.folder, again.revision, told) == (first.folder, first.revision, [])
    put(address, {"empty": b"no more"})
    third = bring(address, tmp_path / "root", progress=told.append)
    assert third.revision != first.revision
    assert files_of(third.folder)["empty"] == b"no more"


def test_a_single_object_is_a_file_and_an_archive_is_what_is_in_it(address: str, tmp_path: Path) -> None:
    from cli.test_sources import packed

    put(address, {"model.ubj": b"tree", "double-1.0.tar.gz": packed({"double-1.0/model.py": b"pass"})})
    single = bring(f"{address}/model.ubj", tmp_path / "root", progress=lambda _: None)
    assert files_of(single.folder) == {"model.ubj": b"tree"}
    archive = bring(f"{address}/double-1.0.tar.gz", tmp_path / "root", progress=lambda _: None)
    assert files_of(archive.folder) == {"model.py": b"pass"}


def test_what_came_before_a_break_is_not_fetched_again(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(address, {"a.bin": BIG, "b.bin": BIG[::-1]})
    monkeypatch.setattr(room, "_RANGE", 1 << 20)
    asked: list[tuple[int, int]] = []
    get = obstore.get

    def counted(store: object, key: str, *, options: dict[str, object]) -> object:
        asked.append(options["range"])  # type: ignore[arg-type]
        if len(asked) == 5:
            raise KeyboardInterrupt
        return get(store, key, options=options)  # type: ignore[arg-type]

    monkeypatch.setattr(obstore, "get", counted)
    bucket, place = Bucket(address), tmp_path / "place"
    with pytest.raises(KeyboardInterrupt):
        bucket.fetch(bucket.look(), place, progress=lambda _: None)
    assert not place.exists()
    before = len(asked)
    monkeypatch.setattr(obstore, "get", counted)
    bucket.fetch(bucket.look(), place, progress=lambda _: None)
    assert files_of(place) == {"a.bin": BIG, "b.bin": BIG[::-1]}
    assert len(asked) - before < 10  # of ten pieces some had come
    assert [path.name for path in tmp_path.iterdir() if path.name.endswith(".coming")] == []


def test_an_object_that_is_not_what_its_own_checksum_says_is_not_used(address: str, tmp_path: Path) -> None:
    put(address, {"a.bin": b"other"}, sha256="0" * 64)
    bucket = Bucket(address)
    with pytest.raises(RejectedContent, match="checksum"):
        bucket.fetch(bucket.look(), tmp_path / "place", progress=lambda _: None)
    assert not (tmp_path / "place").exists()


def test_an_object_that_changes_while_it_comes_is_not_mixed(address: str, tmp_path: Path) -> None:
    put(address, {"a.bin": BIG})
    bucket = Bucket(address)
    listing = bucket.look()
    put(address, {"a.bin": BIG[::-1]})
    if address.startswith("gs"):  # what is there when the first byte comes is held
        bucket.fetch(listing, tmp_path / "place", progress=lambda _: None)
        assert files_of(tmp_path / "place") == {"a.bin": BIG[::-1]}
        return
    with pytest.raises(RejectedContent, match="changed while it came"):
        bucket.fetch(listing, tmp_path / "place", progress=lambda _: None)


SECRETS = {"s3": "AWS_SECRET_ACCESS_KEY", "az": "AZURE_STORAGE_ACCOUNT_KEY"}


def test_what_is_not_there_or_not_given_is_said_without_secrets(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(address, {"a.bin": b"x"})
    with pytest.raises(NotFound, match="There is nothing at"):
        Bucket(f"{address}/nothing").look()
    scheme = address.partition(":")[0]
    if scheme not in SECRETS:
        return  # fake-gcs-server lets everybody in
    monkeypatch.setenv(SECRETS[scheme], "d3Jvbmctc2VjcmV0")
    with pytest.raises(Forbidden, match=SECRETS[scheme]) as caught:
        Bucket(address).look()
    assert "d3Jvbmctc2VjcmV0" not in str(caught.value)


def test_an_object_that_another_client_wrote_to_google_is_held_by_its_generation(
    clouds: Clouds, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = clouds.at("gs")
    assert isinstance(server, GcsServer)
    for name, value in server.variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(room, "_RANGE", 1 << 20)
    put_plain(server, "sources", "theirs/a.bin", BIG)
    real, asked = obstore.get, list[object]()

    def changed(store: object, key: str, *, options: dict[str, object]) -> object:
        asked.append(options["version"])
        if len(asked) == 3:  # the same size, between two ranges
            put_plain(server, "sources", "theirs/a.bin", BIG[::-1])
        return real(store, key, options=options)  # type: ignore[arg-type]

    bucket = Bucket("gs://sources/theirs")
    with monkeypatch.context() as patch, pytest.raises(RejectedContent, match="changed while it came"):
        patch.setattr(obstore, "get", changed)
        bucket.fetch(bucket.look(), tmp_path / "place", progress=lambda _: None)
    bucket.fetch(bucket.look(), tmp_path / "place", progress=lambda _: None)
    assert files_of(tmp_path / "place") == {"a.bin": BIG[::-1]}


def test_azure_s_connection_string_says_all(
    clouds: Clouds, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = clouds.at("az")
    assert isinstance(server, AzureServer)
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", server.connection_string)
    put("az://sources/told", {"a.bin": b"x"})
    bucket = Bucket("az://sources/told")
    bucket.fetch(bucket.look(), tmp_path / "place", progress=lambda _: None)
    assert files_of(tmp_path / "place") == {"a.bin": b"x"}


@pytest.mark.parametrize(
    "source",
    ["s3://", "s3://A", "s3://key:secret@bucket/x", "s3://bucket/x?token=1", "gs://b/#x", "az://-"],
)
def test_addresses_that_name_no_bucket_are_refused(source: str) -> None:
    with pytest.raises(InvalidInput, match="stand in the environment's variables") as caught:
        Bucket(source)
    assert "secret" not in str(caught.value)
