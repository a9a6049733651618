"""Files over HTTP, against a server that breaks, lies, forgets and changes its mind."""

import hashlib
import os
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest

from modelyard.core.errors import (
    Forbidden,
    InvalidInput,
    ModelyardError,
    NotFound,
    RejectedContent,
    TooLarge,
    Unavailable,
)
from modelyard.package import https, meter
from modelyard.package.download import Downloaded, download
from support.web import Web

DATA = os.urandom(3_000_000)
DIGEST = hashlib.sha256(DATA).hexdigest()


class Served:
    """A server, and downloads from it."""

    def __init__(self, web: Web, address: str, folder: Path) -> None:
        self.web, self.address, self.folder = web, address, folder
        self.said: list[str] = []

    def get(self, path: str = "/model.onnx", **options: object) -> Downloaded:
        return download(self.address + path, self.folder, progress=self.said.append, **options)  # type: ignore[arg-type]

    @property
    def names(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir()) if self.folder.is_dir() else []

    @property
    def ranges(self) -> list[str]:
        return [wanted for _, wanted in self.web.asked]


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    monkeypatch.setattr(https, "FIRST_WAIT", 0.01)
    web = Web({"/model.onnx": DATA})
    with web.serve() as address:
        yield Served(web, address, tmp_path / "to")


def test_a_file_comes_with_its_digest_and_leaves_nothing_beside_it(served: Served) -> None:
    got = served.get()
    assert got[:3] == (served.folder / "model.onnx", len(DATA), DIGEST)
    assert got.path.read_bytes() == DATA
    assert served.names == ["model.onnx"]


def test_a_connection_that_breaks_is_gone_on_with(served: Served) -> None:
    served.web.breaks = [1_200_000, 700_000]
    assert served.get(sha256=DIGEST).path.read_bytes() == DATA
    first, second, third = served.ranges
    assert first == ""
    # What the kernel had not passed on is asked for again.
    assert 0 < int(second[6:-1]) <= 1_200_000
    assert int(second[6:-1]) < int(third[6:-1]) <= 1_900_000


def test_what_was_broken_off_is_gone_on_with_by_the_next_run(served: Served) -> None:
    served.web.breaks = [1_000_000] * 9
    served.web.ranges = False  # it begins anew each time, and never gets further
    with pytest.raises(Unavailable, match="cannot be fetched"):
        served.get()
    served.web.breaks, served.web.ranges = [], True
    before = len(served.web.asked)
    assert served.get().sha256 == DIGEST
    assert served.ranges[before].startswith("bytes=")


def test_a_server_that_ignores_ranges_is_read_from_the_beginning(served: Served) -> None:
    served.web.breaks, served.web.ranges = [1_000_000], False
    assert served.get().path.read_bytes() == DATA


@pytest.mark.parametrize("conditions", [True, False])
def test_a_file_that_changed_meanwhile_is_not_mixed(served: Served, conditions: bool) -> None:
    served.web.conditions = conditions  # False: it answers If-Range with the rest of another file
    changed = os.urandom(len(DATA))
    served.web.breaks = [1_000_000] * 6
    served.web.ranges = False
    with pytest.raises(Unavailable):
        served.get()
    served.web.breaks, served.web.ranges = [], True
    served.web.files["/model.onnx"] = changed
    assert served.get().path.read_bytes() == changed


def test_without_a_validator_and_a_checksum_it_begins_anew(served: Served) -> None:
    served.web.breaks, served.web.tagged = [1_000_000], False
    assert served.get().path.read_bytes() == DATA
    assert served.ranges == ["", ""]


def test_without_a_validator_the_checksum_says_whether_the_pieces_fit(served: Served) -> None:
    served.web.breaks, served.web.tagged = [1_000_000], False
    assert served.get(sha256=DIGEST).path.read_bytes() == DATA
    assert served.ranges[1].startswith("bytes=")


def test_pieces_of_two_versions_are_told_by_the_checksum_and_fetched_in_one(served: Served) -> None:
    served.web.tagged = served.web.ranges = False
    served.web.files["/model.onnx"] = os.urandom(len(DATA))
    served.web.breaks = [1_000_000] * 6
    with pytest.raises(Unavailable):
        served.get(sha256=DIGEST)
    served.web.breaks, served.web.ranges = [], True
    served.web.files["/model.onnx"] = DATA
    assert served.get(sha256=DIGEST).path.read_bytes() == DATA


def test_another_checksum_is_refused_and_nothing_is_kept(served: Served) -> None:
    with pytest.raises(RejectedContent, match="checksum"):
        served.get(sha256="0" * 64)
    assert served.names == []
    with pytest.raises(RejectedContent, match="bytes and should have"):
        served.get(size=17)


def test_a_length_that_is_too_long_is_no_file(served: Served) -> None:
    served.web.length, served.web.ranges = len(DATA) + 10, False
    with pytest.raises(Unavailable, match="cannot be fetched"):
        served.get()
    assert "model.onnx" not in served.names


def test_a_length_that_is_too_short_is_told_by_the_checksum(served: Served) -> None:
    served.web.length = len(DATA) - 10
    with pytest.raises(RejectedContent, match="checksum"):
        served.get(sha256=DIGEST)


def test_a_file_of_no_told_length_is_bounded_all_the_same(served: Served) -> None:
    served.web.chunked = True
    assert served.get().sha256 == DIGEST
    with pytest.raises(TooLarge):
        served.get(name="again", most=1_000_000)
    served.web.chunked = False
    asked = len(served.web.asked)
    with pytest.raises(TooLarge, match="more than"):  # told before a byte of it comes
        served.get(name="again", most=1_000_000)
    assert len(served.web.asked) == asked + 1


def test_a_disk_without_room_is_told_before(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meter.shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(Unavailable, match="make room first"):
        served.get()


def test_a_disk_that_fills_up_keeps_what_came(served: Served) -> None:
    """In a process whose files may not grow: what a full disk does to a write."""
    program = (
        "import resource, signal, sys, errno\n"
        "from pathlib import Path\n"
        "from modelyard.package import download as d, partial\n"
        "from modelyard.core.errors import ModelyardError\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))\n"
        "partial.is_full = lambda error: error.errno == errno.EFBIG\n"
        "try: d.download(sys.argv[1], Path(sys.argv[2]), progress=print)\n"
        "except ModelyardError as error: print(error.code, error.message)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, f"{served.address}/model.onnx", str(served.folder)],
        capture_output=True,
        text=True,
    )
    assert "unavailable The disk is full" in done.stdout, done.stdout + done.stderr
    assert "model.onnx" not in served.names
    assert served.get().sha256 == DIGEST
    assert served.ranges[-1] == "bytes=1000000-"


def test_a_server_that_is_busy_is_asked_again(served: Served) -> None:
    served.web.statuses = [503, 429, 500]
    assert served.get().sha256 == DIGEST
    served.web.statuses = [503] * 20
    with pytest.raises(Unavailable, match="503"):
        served.get(name="again")


@pytest.mark.parametrize(
    ("status", "error"), [(401, Forbidden), (403, Forbidden), (404, NotFound), (418, RejectedContent)]
)
def test_what_an_answer_means(served: Served, status: int, error: type[ModelyardError]) -> None:
    served.web.statuses = [status]
    with pytest.raises(error):
        served.get()
    assert len(served.web.asked) == 1


def test_nobody_there_is_told_soon(served: Served) -> None:
    with pytest.raises(Unavailable, match="cannot be fetched"):
        download("http://127.0.0.1:9/model.onnx", served.folder, progress=served.said.append)


def test_redirects_are_followed_here_and_to_nothing_unencrypted(served: Served) -> None:
    served.web.redirects = {"/latest": "/model.onnx", "/round": "/round"}
    assert served.get("/latest").path.name == "model.onnx"
    with pytest.raises(RejectedContent, match="without end"):
        served.get("/round")
    for where in ("http://example.org/x", "ftp://example.org/x", "file:///etc/passwd", "//example.org/x"):
        served.web.redirects["/away"] = where
        with pytest.raises(RejectedContent, match="not encrypted"):
            served.get("/away")


def test_what_is_secret_goes_to_its_own_host_and_into_no_error(served: Served, tmp_path: Path) -> None:
    other = Web({"/model.onnx": DATA})
    with other.serve() as elsewhere:
        served.web.redirects["/away"] = f"{elsewhere}/model.onnx"
        served.get("/away", headers={"Authorization": "Bearer secret"})
        assert served.web.seen[-1]["authorization"] == "Bearer secret"
        assert "authorization" not in other.seen[-1]
        named = served.address.replace("//", "//me:secret@")
        download(f"{named}/away", tmp_path / "other", progress=served.said.append)
        assert served.web.seen[-1]["authorization"].startswith("Basic ")
        assert "authorization" not in other.seen[-1]
        with pytest.raises(NotFound) as told:
            download(f"{named}/none?token=secret", tmp_path / "other", progress=served.said.append)
    assert "secret" not in told.value.message + "".join(served.said)


@pytest.mark.parametrize(
    "url",
    ["http://example.org/x", "ftp://example.org/x", "file:///etc/passwd", "https://", "https://a b/", "x", "https://[::1/x"],
)  # fmt: skip
def test_what_is_no_address_that_is_taken(tmp_path: Path, url: str) -> None:
    with pytest.raises(InvalidInput):
        download(url, tmp_path, progress=print)


def test_a_page_is_no_file(served: Served) -> None:
    served.web.headers = {"Content-Type": "text/html; charset=utf-8"}
    with pytest.raises(RejectedContent, match="a page for people"):
        served.get()
    served.web.headers = {"Content-Encoding": "gzip"}
    with pytest.raises(RejectedContent, match="packed"):
        served.get()


def test_the_server_may_say_what_it_is_called_and_not_where_it_goes(served: Served) -> None:
    served.web.headers = {"Content-Disposition": 'attachment; filename="../../../etc/passwd"'}
    assert served.get().path == served.folder / "passwd"


def test_progress_tells_bytes_and_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    now = [0.0]
    told = meter.Meter(10_000_000, said.append, clock=lambda: now[0])
    for second, have in enumerate((1_000_000, 2_000_000, 3_000_000, 5_000_000)):
        now[0] = second
        told.at(have)
    assert said == ["downloaded 3.0 MB of 10.0 MB (1.0 MB/s)"]


def test_a_certificate_that_nobody_vouches_for_is_not_tried_again(tmp_path: Path) -> None:
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "key", "-out", "cert", "-days", "1",
            "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]  # fmt: skip
    subprocess.run(made, cwd=tmp_path, check=True, capture_output=True)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "5")
            self.end_headers()
            self.wfile.write(b"hello")

        def log_message(self, format: str, *values: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert", tmp_path / "key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        url = f"https://localhost:{server.server_port}/model.onnx"
        with pytest.raises(Unavailable, match="CERTIFICATE_VERIFY_FAILED"):
            download(url, tmp_path / "to", progress=print)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("SSL_CERT_FILE", str(tmp_path / "cert"))
            assert download(url, tmp_path / "to", progress=print).path.read_bytes() == b"hello"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_link_in_the_place_of_what_comes_is_not_followed(served: Served, tmp_path: Path) -> None:
    key = hashlib.sha256(f"{served.address}/model.onnx".encode()).hexdigest()[:16]
    served.folder.mkdir()
    (served.folder / f".{key}.partial").symlink_to(tmp_path / "outside")
    with pytest.raises(OSError):
        served.get()
    assert not (tmp_path / "outside").exists()
