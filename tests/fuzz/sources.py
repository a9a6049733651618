"""What is fetched from outside: archives, the names of files, what Git LFS and mirrors say."""

import atexit
import contextlib
import io
import json
import os
import re
import shutil
import stat
import tarfile
import tempfile
import zipfile
from pathlib import Path

from fuzz.engine import Harness
from modelyard.core import addresses
from modelyard.core.errors import ModelyardError, NotFound, RejectedContent
from modelyard.core.manifest import FileEntry
from modelyard.package import address, lfs, pages, source
from modelyard.package.archive import Limits, unpack
from modelyard.package.git import parse
from modelyard.pipeline.mirror.manifest import EntryManifest, decode, encode, is_mark

_LIMITS = Limits(size=1 << 20, names=200, free=1 << 20)
_DIGEST = "ab" * 32


def _tar(form: int, mode: str = "w") -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode=mode, format=form) as archive:  # type: ignore[call-overload]
        for name, data in (("a/b.bin", b"hello" * 100), ("a/" + "long/" * 20 + "x", b"x"), ("c", b"")):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            member.pax_headers = {"comment": "é" * 50}
            archive.addfile(member, io.BytesIO(data))
        for name, kind, target in (
            ("a/link", tarfile.SYMTYPE, "b.bin"),
            ("hard", tarfile.LNKTYPE, "a/b.bin"),
            ("out", tarfile.SYMTYPE, "../../../etc/passwd"),
            ("a/d", tarfile.DIRTYPE, ""),
        ):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, target
            archive.addfile(member)
    return made.getvalue()


def _zip() -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/b.bin", b"hello" * 100)
        archive.writestr("a/c/", b"")
        link = zipfile.ZipInfo("a/link")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "b.bin")
    return made.getvalue()


def archive_harness() -> Harness:
    """Whatever the bytes: files and folders in the given folder within the limits, or RejectedContent."""
    root = Path(
        tempfile.mkdtemp(prefix="fuzz-archive-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None)
    )
    atexit.register(shutil.rmtree, root, ignore_errors=True)
    packed, to = root / "packed", root / "in" / "to"

    def fuzz_one(data: bytes) -> None:
        packed.write_bytes(data)
        (root / "in").mkdir()
        try:
            with contextlib.suppress(RejectedContent):
                unpack(packed, to, limits=_LIMITS, progress=lambda _: None)
            assert sorted(path.name for path in root.iterdir()) == ["in", "packed"]
            assert [path.name for path in (root / "in").iterdir()] in ([], ["to"])
            size = 0
            for parent, folders, names in os.walk(to):
                for name in (*folders, *names):
                    found = (Path(parent) / name).lstat()
                    assert stat.S_ISDIR(found.st_mode) or stat.S_ISREG(found.st_mode), name
                    size += found.st_size if found.st_nlink == 1 and stat.S_ISREG(found.st_mode) else 0
            assert size <= (1 << 20) + len(data)
        finally:
            shutil.rmtree(root / "in")

    seeds = [
        *(_tar(form) for form in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)),
        _zip(),
        *(_tar(tarfile.PAX_FORMAT, f"w:{form}") for form in ("gz", "xz", "bz2")),
    ]
    unpack_seed = root / "seed"
    unpack_seed.write_bytes(seeds[0])
    unpack(unpack_seed, root / "seed-to", progress=lambda _: None)
    shutil.rmtree(root / "seed-to")
    unpack_seed.unlink()
    tokens = [b"../", b"/etc/passwd", b"ustar", b"\0" * 512, b"77777777777", b"S", b"K", b"L", b"x", b"g", b"GNU.sparse.map",
              b"30 path=../../x\n", b"PK\x03\x04", b"PK\x01\x02", b"\xff\xff\xff\xff"]  # fmt: skip
    return Harness("archive", fuzz_one, seeds, tokens)


def address_harness() -> Harness:
    """An address, and behind a line feed what a server calls the file there: one plain name, or an error."""

    def fuzz_one(data: bytes) -> None:
        text = data.decode("utf-8", "surrogateescape")
        url, _, said = text.partition("\n")
        for header in (None, said):
            name = address.file_name(url, header)
            assert name and "/" not in name and "\\" not in name and name not in (".", ".."), name
            assert name[0] != "." and len(name.encode()) <= 200 and name.isprintable(), name
            assert address.stem(name)
        path = re.sub(r"[\s?#]", "", url).replace(
            "secret", ""
        )  # of which the library takes some out itself
        assert "secret" not in addresses.shown(f"https://me:secret@host/{path}?secret")
        for read in (address.check_web, address.file_address, parse):
            with contextlib.suppress(ModelyardError):
                read(url)
        pages.page_at(url)
        source.is_address(url)

    seeds = [
        b"https://host.example/a/model.onnx?x=1\nattachment; filename=\"model.onnx\"",
        b"https://me:secret@host.example:8443/a%2Fb/%2e%2e/x.tar.gz#sha256=" + _DIGEST.encode()
        + b"\nattachment; filename*=UTF-8''na%C3%AFve%20file.txt",
        b"git+ssh://git@host.example/owner/name.git@v1\ninline; filename*0=a; filename*1=b",
        b"git@host.example:owner/name@feature/x\nattachment",
        b"https://zenodo.org/records/1\nattachment; filename=../../etc/passwd",
    ]  # fmt: skip
    tokens = [
        b"%00",
        b"%2e%2e%2f",
        b"[::1]",
        b"filename*=",
        b"''",
        b"\r\n",
        b"@",
        b"#sha256=",
        b"\xff",
        b"%ff",
        b"*0*=",
    ]
    return Harness("address", fuzz_one, seeds, tokens)


def lfs_harness() -> Harness:
    """A place holder, and behind a NUL what a store answers."""
    wanted = [lfs.Pointer(_DIGEST, 5)]

    def fuzz_one(data: bytes) -> None:
        held, _, answer = data.partition(b"\0")
        pointer = lfs.read_pointer(held)
        assert pointer is None or (len(pointer.sha256) == 64 and pointer.size >= 0)
        try:
            found = lfs.read_batch(answer, wanted, "https://host.example/api")
        except ModelyardError as error:
            assert error.code != "internal" and error.message, error
        else:
            (action,) = found.values()
            assert action.href.lower().startswith(
                ("https://", "http://127.", "http://localhost", "http://[::1]")
            )
            assert all("\n" not in f"{name}{value}" for name, value in action.header.items())

    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{_DIGEST}\nsize 5\n".encode()
    good = {
        "oid": _DIGEST,
        "size": 5,
        "actions": {"download": {"href": "https://host.example/x", "header": {"A": "b"}}},
    }
    bad = {"oid": _DIGEST, "size": 5, "error": {"code": 404, "message": "gone"}}
    seeds = [
        pointer + b"\0" + json.dumps({"transfer": "basic", "objects": [each]}).encode()
        for each in (good, bad)
    ]
    assert lfs.read_batch(seeds[0].partition(b"\0")[2], wanted, "https://host.example/api")
    tokens = [
        b"oid sha256:",
        b"size ",
        b"ext-0-x ",
        b'"href"',
        b"http://10.0.0.1/",
        b"file:///",
        b"\\n",
        b"\\u0000",
    ]
    return Harness("lfs", fuzz_one, seeds, tokens)


def mirror_harness() -> Harness:
    """A manifest of an entry in a mirror."""

    def fuzz_one(data: bytes) -> None:
        is_mark(data)
        try:
            manifest = decode(data, "tiny", "here")
        except (RejectedContent, NotFound):
            return
        for file in manifest.files:
            assert not file.path.startswith("/") and ".." not in file.path.split("/")
            assert file.size >= 0 and len(file.sha256) == 64

    files = tuple(FileEntry(path=path, size=5, sha256=_DIGEST) for path in ("a/b.bin", "c"))
    good = encode(EntryManifest(name="tiny", files=files, source={"hub": "a/b"}, revision="1"))
    assert decode(good, "tiny", "here").files == files
    tokens = [b'"path"', b"../", b"\\u0000", b'"size": -1', b'"modelyard_mirror": 2', b"\\\\", b"1e400"]
    return Harness("mirror", fuzz_one, [good, b'{"modelyard_mirror": 1}'], tokens)
