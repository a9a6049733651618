"""One GET or POST over HTTPS: redirects to https alone, this machine's proxies and certificates, and failures
told apart by whether another try may go better.

Proxies are those of ``HTTPS_PROXY``, ``NO_PROXY`` and pip's ``proxy``, certificates those of ``SSL_CERT_FILE``
and pip's ``cert``; this machine's loopback is asked without a proxy.
"""

import re
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final
from urllib.parse import urljoin, urlsplit
from urllib.request import getproxies, proxy_bypass

from modelyard.core.addresses import shown
from modelyard.core.errors import Forbidden, InvalidInput, NotFound, RejectedContent, TooLarge, Unavailable
from modelyard.core.units import format_bytes
from modelyard.package.address import check_web
from modelyard.package.sources import read_sources
from modelyard.policy.backoff import Backoff

if TYPE_CHECKING:
    import httpx

ATTEMPTS: Final = 6  # in a row, of which nothing comes
FIRST_WAIT = 0.5  # seconds, doubled each time
_REDIRECTS: Final = 10
_AGAIN: Final = frozenset({408, 425, 429, 500, 502, 503, 504})


class Broken(Exception):
    """A try that may go better the next time, after ``wait`` seconds where the server said how long; not when
    it is ``final``."""

    def __init__(self, why: str, wait: float | None = None, *, final: bool = False) -> None:
        super().__init__(why)
        self.wait = wait
        self.final = final


def read_small(url: str, *, most: int) -> bytes:
    """The body of a small document of at most ``most`` bytes.

    Raises InvalidInput for an address that is not taken, NotFound, Forbidden, RejectedContent, TooLarge, and
    Unavailable when it cannot be had now.
    """
    return _exchange("GET", url, most=most, headers={}, body=None)


def post(url: str, body: bytes, *, most: int, headers: Mapping[str, str]) -> bytes:
    """The answer to a small document. Raises what :func:`read_small` does."""
    return _exchange("POST", url, most=most, headers=headers, body=body)


def _exchange(method: str, url: str, *, most: int, headers: Mapping[str, str], body: bytes | None) -> bytes:
    check_web(url)
    backoff = Backoff(first=FIRST_WAIT)
    with open_client(url) as client:
        while True:
            try:
                with answer(client, url, dict(headers), method=method, body=body) as response:
                    check_status(response, url)
                    return _body(response, url, most)
            except Broken as broken:
                wait(backoff, broken, url)


def wait(backoff: Backoff, broken: Broken, url: str, *, attempts: int = ATTEMPTS // 2) -> None:
    """Sleep until the next try. Raises Unavailable after ``attempts`` in a row."""
    seconds = backoff.failed(0.0)
    if backoff.failures >= attempts or broken.final:
        raise Unavailable(
            f"{shown(url)} cannot be fetched: {broken}. What has come is kept; check the network, then try again.",
            retry_after=30.0,
        ) from broken
    time.sleep(min(max(seconds, broken.wait or 0.0), 60.0))


@contextmanager
def answer(
    client: "httpx.Client",
    url: str,
    headers: dict[str, str],
    *,
    method: str = "GET",
    body: bytes | None = None,
    plain: bool = False,
) -> Iterator["httpx.Response"]:
    """The answer that is no redirect, its body still to come. ``headers`` go to the host of ``url`` alone, but for
    those of a range. ``plain``: http is taken, where the address is http itself. Raises Broken, and RejectedContent for a redirect that is not followed."""
    asked = url
    for _ in range(_REDIRECTS):
        same = urlsplit(url)[:2] == urlsplit(asked)[:2]
        given = (
            headers if same else {name: headers[name] for name in ("Range", "If-Range") if name in headers}
        )
        with understood():
            request = client.build_request(method, url, headers=given, content=body)
            response = client.send(request, stream=True)
        try:
            if response.status_code not in (301, 302, 303, 307, 308) or method != "GET":
                yield response
                return
            url = _redirected(response, url, asked, plain)
        finally:
            response.close()
    raise RejectedContent(f"{shown(asked)} leads from one address to the next without end.")


def _redirected(response: "httpx.Response", url: str, asked: str, plain: bool) -> str:
    where = urljoin(url, response.headers.get("location", ""))
    try:
        check_web(where, plain=plain)
        secure = urlsplit(where).scheme == "https" or urlsplit(asked).scheme == "http"
    except InvalidInput:
        secure = False
    if not secure:
        raise RejectedContent(
            f"{shown(asked)} leads to {shown(where)[:200]}, which is not encrypted; it is not followed."
        )
    return where


def check_status(response: "httpx.Response", url: str) -> None:
    """Raises what an answer without a file means."""
    status = response.status_code
    if status in (200, 206):
        return
    said = f"{shown(url)} answers {status}"
    if status in (401, 403, 407):
        raise Forbidden(
            f"{said}: it is given to those who say who they are. Fetch it with your browser or your own tools, and name "
            "the file here."
        )
    if status in (404, 410):
        raise NotFound(f"There is no file at {shown(url)} ({status}).", field="source")
    if status in _AGAIN:
        wait = response.headers.get("retry-after", "")
        raise Broken(said, float(wait) if wait.isascii() and wait.isdigit() and len(wait) < 6 else None)
    raise RejectedContent(f"{said}; a file would be 200.")


def _body(response: "httpx.Response", url: str, most: int) -> bytes:
    body = bytearray()
    with understood():
        for piece in response.iter_raw(1 << 16):
            body += piece
            if len(body) > most:
                raise TooLarge(f"{shown(url)} is larger than {format_bytes(most)}.")
    return bytes(body)


@contextmanager
def understood() -> Iterator[None]:
    """The library's errors as tries that may go better."""
    import httpx

    try:
        yield
    except httpx.TimeoutException as error:
        raise Broken("it does not answer in time") from error
    except httpx.InvalidURL as error:
        raise RejectedContent("It leads to what is no address.") from error
    except (httpx.TransportError, httpx.StreamError) as error:
        why = re.sub(r"(?<=://)[^/@\s]+@", "", " ".join(str(error).split()))[:200] or type(error).__name__
        raise Broken(why.rstrip("."), final="CERTIFICATE_VERIFY_FAILED" in why) from error


def open_client(url: str) -> "httpx.Client":
    import httpx

    variables = read_sources().variables
    proxy = variables.get("ALL_PROXY")
    if getproxies() or proxy_bypass(urlsplit(url).hostname or ""):
        proxy = None  # the environment's own words on proxies are read by the library
    return httpx.Client(
        verify=ssl.create_default_context(cafile=variables.get("SSL_CERT_FILE") or None),
        proxy=proxy,
        mounts={f"all://{host}": None for host in ("127.0.0.1", "localhost", "[::1]")},
        follow_redirects=False,
        timeout=httpx.Timeout(60.0, connect=30.0),
        headers={"User-Agent": "modelyard", "Accept-Encoding": "identity", "Accept": "*/*"},
    )
