"""Where the platform is, and with which key it is spoken to."""

import os
from pathlib import Path
from typing import NamedTuple

from modelyard.core.errors import InvalidInput, Unavailable
from modelyard.core.settings import Home


class Location(NamedTuple):
    """The control plane's URL without a slash at its end, the API key, and the home it was found in."""

    url: str
    key: str | None
    home: Home | None


def locate(url: str | None = None, api_key: str | None = None, home: str | Path | None = None) -> Location:
    """The platform to speak to: ``url``, else MODELYARD_URL, else the one that runs in ``home``.

    The key is ``api_key``, else MODELYARD_API_KEY, else the home's own, which is only ever sent to
    the platform of that home. Raises Unavailable when no platform runs there, InvalidInput for an
    URL that is none.
    """
    key = api_key or os.environ.get("MODELYARD_API_KEY") or None
    url = url or (None if home else os.environ.get("MODELYARD_URL")) or None
    if url is not None:
        return Location(check_url(url), key, None)
    place = find_home(home)
    found = read_address(place, "control")
    if found is None:
        raise Unavailable(
            f"No platform runs in {place.root}; start it with `modelyard up`, or set MODELYARD_URL to one "
            "that runs elsewhere."
        )
    return Location(found, key or _read_key(place), place)


def find_home(home: str | Path | None = None) -> Home:
    """The home folder: ``home``, else MODELYARD_HOME, else ``~/.modelyard``."""
    chosen = home or os.environ.get("MODELYARD_HOME") or Path.home() / ".modelyard"
    return Home(Path(chosen).expanduser().absolute())


def read_address(home: Home, program: str) -> str | None:
    """The URL that ``program`` ("control", "node") of ``home`` wrote when it began to listen, or None."""
    try:
        text = home.address(program).read_text().strip()
    except OSError:
        return None
    return check_url(text) if text else None


def check_url(url: str) -> str:
    """``url`` without a slash at its end. Raises InvalidInput unless it is http(s) with a host."""
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good:
        raise InvalidInput(
            f"{url!r} is not the address of a platform; write http://host:port.", field="url"
        )
    return url.rstrip("/")


def _read_key(home: Home) -> str | None:
    try:
        return home.key.read_text().strip() or None
    except OSError:
        return None
