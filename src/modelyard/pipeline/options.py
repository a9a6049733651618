"""The options of a new revision: what is given, over what the endpoint has; and fallbacks that can work."""

from collections.abc import Collection, Mapping
from pathlib import Path

from modelyard.core.access import DEFAULT_PROJECT
from modelyard.core.deployment import Deployment, DeploymentSettings
from modelyard.core.errors import Conflict, InvalidInput
from modelyard.store.endpoints import Endpoints

_FIELD = "settings.serving.fallback"


def settled(
    endpoints: Endpoints,
    endpoint: str,
    given: Mapping[str, object],
    *,
    home: Path,
    elsewhere: Collection[str] = (),
    project: str = DEFAULT_PROJECT,
    reset: bool = False,
) -> DeploymentSettings:
    """What a revision of ``endpoint`` made now would be set to; ``elsewhere`` names those with remotes,
    ``project`` is the one of ``endpoint``, in which its fallback is, too.

    Options that are not given are as in the deployment that the endpoint wants, also when that failed;
    with ``reset``, or without such a deployment, they are the defaults. Raises InvalidInput for an
    option that cannot be, for a fallback that is no other endpoint or leads back to this one, and for a folder
    that the model is to reach and that is none, or holds the platform's ``home`` or lies in it.
    """
    wanted = _wanted(endpoints, project)
    former = wanted.get(endpoint)
    settings = DeploymentSettings() if reset or former is None else former.settings
    settings = settings.changed(given)
    fallback = settings.serving.fallback
    if fallback is not None:
        _check_fallback(endpoint, fallback, wanted, elsewhere)
    for folder in settings.leave.folders:
        _check_folder(folder, home.resolve())
    return settings


def refuse_while_needed(endpoints: Endpoints, name: str) -> None:
    """Raises Conflict when other endpoints fall back on ``name``, so that it may not be deleted."""
    names, deployments = endpoints.snapshot()
    counting = {each.wanted for each in names} | {each.serving for each in names}
    users = sorted(
        {
            each.endpoint
            for each in deployments
            if each.id in counting and each.settings.serving.fallback == name and each.endpoint != name
        }
    )
    if users:
        raise Conflict(
            f"{name!r} is the fallback of {', '.join(users)}; deploy that with another fallback, or with "
            "--reset, first."
        )


def _check_fallback(
    endpoint: str, fallback: str, wanted: Mapping[str, Deployment], elsewhere: Collection[str]
) -> None:
    if fallback == endpoint:
        raise InvalidInput(f"{endpoint!r} cannot be its own fallback; name another endpoint.", field=_FIELD)
    if fallback not in wanted and fallback in elsewhere:
        return  # remotes alone serve it: it falls back on nobody
    if fallback not in wanted:
        others = ", ".join(sorted({*wanted, *elsewhere} - {endpoint})) or "none yet"
        raise InvalidInput(
            f"The fallback {fallback!r} is no endpoint; the others are: {others}. Deploy it first.",
            field=_FIELD,
        )
    way = [endpoint, fallback]
    while (following := wanted[way[-1]].settings.serving.fallback) is not None and following in wanted:
        way.append(following)
        if following in way[:-1]:
            break
    if way[-1] in way[:-1]:
        raise InvalidInput(
            f"This fallback leads in a circle: {' -> '.join(way)}. Name an endpoint that does not fall back "
            f"on {way[-1]!r}.",
            field=_FIELD,
        )


def _check_folder(told: str, home: Path) -> None:
    path = Path(told.removesuffix(":rw"))
    wrong = None
    if not path.is_absolute() or ".." in path.parts:
        wrong = "it must be an absolute path"
    elif not path.is_dir():
        wrong = "it is no folder of this machine"
    elif path.resolve().is_relative_to(home) or home.is_relative_to(path.resolve()):
        wrong = f"the platform's own files are there ({home}); put what the model needs elsewhere"
    if wrong is not None:
        raise InvalidInput(
            f"The model cannot have leave for the folder {told!r}: {wrong}.", field="settings.leave.folders"
        )


def _wanted(endpoints: Endpoints, project: str) -> dict[str, Deployment]:
    """The deployment that each endpoint of a project wants, by the endpoint's name."""
    names, deployments = endpoints.snapshot()
    ids = {endpoint.wanted for endpoint in names if endpoint.project == project}
    return {deployment.endpoint: deployment for deployment in deployments if deployment.id in ids}
