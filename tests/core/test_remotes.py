"""Addresses of remotes: one way to write each, and nothing let in by writing it anew."""

import pytest

from modelyard.core.errors import InvalidInput
from modelyard.core.remotes import canonical_url, check_url


@pytest.mark.parametrize(
    ("written", "is_"),
    [
        ("http://Host:80/", "http://host"),
        ("HTTPS://host:443", "https://host"),
        ("http://host:0443/v2/", "http://host:443/v2"),
        ("https://host:80", "https://host:80"),
        ("http://host/Some/Path//", "http://host/Some/Path"),
        ("http://[::1]:8701/", "http://[::1]:8701"),
        ("unix:/run/Node.sock", "unix:/run/Node.sock"),
    ],
)
def test_there_is_one_way_to_write_an_address(written: str, is_: str) -> None:
    check_url(written, "url")
    assert canonical_url(written) == is_
    assert canonical_url(is_) == is_
    check_url(is_, "url")


@pytest.mark.parametrize(
    "wrong",
    [
        "http://h\n", "http://h\t/x", "http://h/p\n", "http://h:99999", "http://h:x", "http://user:word@h",
        "http://h?x=1", "ftp://h", "http://", "//h", "http://[::1", "http://hé", "http://h:0", "unix:relative", "",
    ],
)  # fmt: skip
def test_what_is_refused_is_refused_however_it_is_written(wrong: str) -> None:
    for url in (wrong, canonical_url(wrong)):
        with pytest.raises(InvalidInput):
            check_url(url, "url")
