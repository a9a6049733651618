"""The remotes of an endpoint, as users set them, and what is true of all of them."""

import math
import re
from urllib.parse import urlsplit

from modelyard.core.errors import InvalidInput
from modelyard.core.routes import Remote, RetryOptions
from modelyard.core.struct import Noun

MAX_REMOTES = 64  # of one endpoint
MAX_WEIGHT = 1e6
_BASE_ALONE = (
    "An URL of a remote has no user, password, query or fragment; its key is named by key_variable."
)
_PORTS = {"http": 80, "https": 443}
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")


class RemoteRoute(Noun):
    """Where calls to ``endpoint`` go beside its deployment (whose part is ``weight``), or instead of one."""

    endpoint: str
    remotes: tuple[Remote, ...]
    weight: float = 1.0
    retry: RetryOptions = RetryOptions()


def canonical_url(url: str) -> str:
    """The one way to write ``url``, so that ``http://Host:80/`` and ``http://host`` are one remote. What
    :func:`check_url` refuses is left as it is."""
    if url.startswith("unix:") or not url.isascii() or not url.isprintable():
        return url
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return url
    if not host or parts.scheme not in _PORTS or any(mark in url for mark in "@?# "):
        return url
    host = f"[{host}]" if "[" in parts.netloc else host
    authority = host if port in (None, _PORTS[parts.scheme]) else f"{host}:{port}"
    return f"{parts.scheme}://{authority}{parts.path.rstrip('/')}"


def without(route: RemoteRoute, url: str | None, model: str | None) -> tuple[Remote, ...]:
    """The remotes of ``route`` that are left without those at ``url`` (None: any), asked for ``model`` (None:
    any)."""
    where = None if url is None else canonical_url(url)
    return tuple(
        each
        for each in route.remotes
        if where not in (None, canonical_url(each.url)) or model not in (None, each.model)
    )


def check_remote_route(route: RemoteRoute) -> None:
    """Raise InvalidInput, naming the field, for what no node would take."""
    if not 1 <= len(route.remotes) <= MAX_REMOTES:
        raise InvalidInput(f"An endpoint has 1 to {MAX_REMOTES} remotes.", field="remotes")
    # Of the remotes by themselves: the deployment beside them may go.
    check_weights(route.endpoint, [remote.weight for remote in route.remotes], "remotes")
    if not 0 <= route.weight <= MAX_WEIGHT:
        raise InvalidInput(f"A weight is a number from 0 to {MAX_WEIGHT:g}.", field="weight")
    seen: set[tuple[str, str]] = set()
    for position, remote in enumerate(route.remotes):
        field = f"remotes[{position}]"
        check_remote(remote, field)
        if (remote.url, remote.model) in seen:
            raise InvalidInput(f"{remote.url} is given twice for {remote.model!r}.", field=f"{field}.url")
        seen.add((remote.url, remote.model))
    check_retry(route.retry, "retry")


def check_weights(endpoint: str, weights: list[float], field: str) -> None:
    """Raise InvalidInput unless none is below 0 and one is above it."""
    if any(not 0 <= weight <= MAX_WEIGHT for weight in weights) or not any(weights):
        raise InvalidInput(
            f"The weights of {endpoint!r} are {weights}: each from 0 to {MAX_WEIGHT:g}, and one above 0.",
            field=field,
        )


def check_remote(remote: Remote, field: str) -> None:
    """Raise InvalidInput for a remote that cannot be called."""
    check_url(remote.url, f"{field}.url")
    if not 0 < len(remote.model) <= 255 or not remote.model.isprintable():
        raise InvalidInput("A remote names the model that it is asked for.", field=f"{field}.model")
    if remote.key_variable is not None and not _VARIABLE.fullmatch(remote.key_variable):
        raise InvalidInput(
            f"{remote.key_variable!r:.80} is not the name of an environment variable. The key itself stays in "
            "the environment of the node.",
            field=f"{field}.key_variable",
        )


def check_retry(retry: RetryOptions, field: str) -> None:
    """Raise InvalidInput for attempts, a budget or a hedge that mean nothing."""
    if not 1 <= retry.attempts <= 10 or not 0 <= retry.budget <= 1:
        raise InvalidInput("A route has 1 to 10 attempts and a budget of 0 to 1.", field=field)
    if retry.hedge is not None and not 0 <= retry.hedge < math.inf:
        raise InvalidInput("A hedge is a number of seconds, not below 0.", field=f"{field}.hedge")


def check_url(url: str, field: str) -> None:
    """Raise InvalidInput for a base that cannot be called: http, https, or the socket of a node here."""
    if url.startswith("unix:"):
        path = url.removeprefix("unix:")
        if not path.startswith("/") or not path.isprintable():
            raise InvalidInput(
                f"{url!r} names no socket; write unix: and an absolute path, unix:/run/node.sock.",
                field=field,
            )
        return
    if any(mark in url for mark in "@?# "):  # first, so that no other error repeats a password
        raise InvalidInput(_BASE_ALONE, field=field)
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise InvalidInput(f"{url!r} is not an URL: {error}.", field=field) from None
    named = parts.scheme in ("http", "https") and parts.hostname and port != 0
    if not named or not url.isascii() or not url.isprintable():
        raise InvalidInput(
            f"{url!r} cannot be called; write http://host:port, https://host or unix:/path.", field=field
        )
