"""What ``modelyard remotes`` does."""

from typing import Any, Literal

from modelyard.cli.common import client
from modelyard.cli.output import print_json, print_table
from modelyard.core.remotes import RemoteRoute
from modelyard.core.routes import Remote


def show(name: str | None, *, as_json: bool) -> None:
    """Raises NotFound when the endpoint has none."""
    with client() as platform:
        routes = platform.remotes() if name is None else [platform.remotes_of(name)]
    if as_json:
        print_json(routes if name is None else routes[0])
    elif not routes:
        print("No endpoint has remotes. Add one: modelyard remotes add NAME http://host:8701")
    else:
        _print(routes)


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


def _tell(route: RemoteRoute, *, as_json: bool) -> None:
    if as_json:
        print_json(route)
    else:
        _print([route])


def _print(routes: list[RemoteRoute]) -> None:
    print_table(
        ["ENDPOINT", "REMOTE", "MODEL", "KIND", "WEIGHT", "KEY", "TRIES", "BUDGET", "HEDGE"],
        [_row(route, remote) for route in routes for remote in route.remotes],
        right=(4, 6, 7, 8),
    )
    for route in routes:
        print(f"\n{route.endpoint}: a deployment of this name has the weight {route.weight:g} beside them.")


def _row(route: RemoteRoute, remote: Remote) -> list[str]:
    retry = route.retry
    return [
        route.endpoint,
        remote.url,
        remote.model,
        remote.kind,
        f"{remote.weight:g}",
        f"${remote.key_variable}" if remote.key_variable else "-",
        str(retry.attempts),
        f"{retry.budget:g}",
        f"{retry.hedge:g} s" if retry.hedge is not None else "-",
    ]
