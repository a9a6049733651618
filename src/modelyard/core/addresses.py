"""Addresses of the web and of repositories, as people and records may see them."""

import re
from urllib.parse import urlsplit, urlunsplit


def shown(url: str) -> str:
    """``url`` without what may be secret in it: user, password, query."""
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
        return urlunsplit((parts.scheme, host, parts.path, "…" if parts.query else "", ""))
    except ValueError:
        return re.sub(r"(?<=://)[^/@\s]+@", "", url).partition("?")[0]
