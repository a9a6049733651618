"""What ``modelyard remotes`` does."""

from typing import Any, Literal

from modelyard.cli.common import client
from modelyard.cli.output import print_json, print_table
from modelyard.client.answers import RemotesInfo
from modelyard.core.remotes import RemoteRoute
from modelyard.core.routes import Remote
from modelyard.core.units import format_seconds


def show(name: str | None, *, as_json: bool) -> None:
    """Raises NotFound when the endpoint has none."""
    with client() as platform:
        routes = platform.remotes() if name is None else [platform.remotes_of(name)]
    if as_json:
        print_json(routes if name is None else routes[0])
    elif not routes:
        print("No endpoint has remotes. Add one: modelyard remotes add NAME http://host:8701")
    else:
        print_states(routes)


def add(
    name: str,
    url: str,
    model: str,
    kind: Literal["v2", "openai"],
    weight: float,
    key_variable: str | None,
    *,
    as_json: bool,
) -> None:
    """Raises InvalidInput for what cannot be called."""
    remote = Remote(url=url, model=model, kind=kind, weight=weight, key_variable=key_variable)
    with client() as platform:
        _tell(platform.add_remote(name, remote), as_json=as_json)


def remove(name: str, url: str, model: str | None, *, as_json: bool) -> None:
    """Raises NotFound."""
    with client() as platform:
        platform.delete_remotes(name, url=url, model=model)
    if as_json:
        print_json({"removed": url})
    else:
        print(f"{name} sends no calls to {url} any more.")


def set_options(
    name: str,
    local_weight: float | None,
    attempts: int | None,
    budget: float | None,
    hedge: float | None,
    *,
    as_json: bool,
) -> None:
    """What is None stays. Raises NotFound when the endpoint has no remotes."""
    given: dict[str, Any] = {"attempts": attempts, "budget": budget}
    retry = {key: value for key, value in given.items() if value is not None}
    if hedge is not None:
        retry["hedge"] = hedge if hedge >= 0 else None
    with client() as platform:
        _tell(platform.change_remotes(name, weight=local_weight, **retry), as_json=as_json)


def print_states(routes: list[RemotesInfo]) -> None:
    """How the remotes are, and how calls are shared among them."""
    print_table(
        ["ENDPOINT", "REMOTE", "MODEL", "KIND", "STATE", "WEIGHT", "CALLS", "ERRORS", "LATENCY"],
        [_state_row(route, remote) for route in routes for remote in route.remotes],
        right=(5, 6, 7, 8),
    )
    for route in routes:
        print(f"\n{_options(route)}")
        for remote in route.remotes:
            status = route.status_of(remote)
            if status is not None and status.failure:
                print(f"  {remote.url}: {status.failure}")


def _state_row(route: RemotesInfo, remote: Remote) -> list[str]:
    status = route.status_of(remote)
    known = [remote.url, remote.model, remote.kind]
    if status is None:
        return [route.endpoint, *known, "unknown", f"{remote.weight:g}", "-", "-", "-"]
    latency = "-" if status.latency is None else format_seconds(status.latency)
    counts = [str(status.calls), str(status.errors), latency]
    return [route.endpoint, *known, status.state, f"{remote.weight:g}", *counts]


def _options(route: RemoteRoute | RemotesInfo) -> str:
    retry = route.retry
    hedge = "no hedge" if retry.hedge is None else f"a second backend asked after {retry.hedge:g} s"
    return (
        f"{route.endpoint}: {retry.attempts} attempts, retries at most {retry.budget:.0%} of the calls, {hedge}; "
        f"a deployment of this name has the weight {route.weight:g}."
    )


def _tell(route: RemoteRoute, *, as_json: bool) -> None:
    if as_json:
        print_json(route)
        return
    print_table(
        ["ENDPOINT", "REMOTE", "MODEL", "KIND", "WEIGHT", "KEY"],
        [
            [route.endpoint, remote.url, remote.model, remote.kind, f"{remote.weight:g}", _key(remote)]
            for remote in route.remotes
        ],
        right=(4,),
    )
    print(f"\n{_options(route)}")


def _key(remote: Remote) -> str:
    return f"${remote.key_variable}" if remote.key_variable else "-"
