"""Where a model comes from that the command line names: a version that is registered, or files from anywhere."""

import difflib
from pathlib import Path

import typer

from modelyard.cli.output import say
from modelyard.client.location import find_home
from modelyard.core.errors import InvalidInput, NotFound, Unavailable
from modelyard.core.reference import Reference, parse_reference
from modelyard.pipeline.sources import MLFLOW, Found, bring, is_elsewhere, unknown_scheme


def registered(model: str) -> Reference | None:
    """The version that ``model`` names (``fraud/3``, ``fraud@production``); None for anything else. What is there as a
    file or a folder is that; a name alone only names a model that the platform knows."""
    if Path(model).exists() or "://" in model:
        return None
    try:
        reference = parse_reference(model)
    except InvalidInput:
        return None
    if reference.which is None and "@" not in model:
        from modelyard.cli.common import client

        try:
            with client() as platform:
                platform.model(reference.model)
        except (NotFound, Unavailable):
            return None
    return reference


def place_of(
    model: str,
    sha256: str | None = None,
    *,
    tracking: str | None = None,
    trusted: bool = False,
    or_name: bool = False,
) -> Found:
    """The file or folder that ``model`` is, fetched when it is elsewhere, as :func:`modelyard.pipeline.sources.bring`
    does. ``or_name``: it could have been the name of a registered model, which the caller has looked for. Raises
    BadParameter (exit 2) for what is not there, and what hinders the fetching."""
    if tracking is not None and not model.startswith(MLFLOW):
        raise typer.BadParameter("It is for mlflow:… alone.", param_hint="--tracking-uri")
    if sha256 is None and not is_elsewhere(model) and not Path(model).exists():
        raise typer.BadParameter(_nowhere(model, or_name=or_name), param_hint="MODEL")
    root = find_home().root.absolute()
    return bring(model, root, sha256=sha256, tracking=tracking, trusted=trusted, progress=say)


def _nowhere(model: str, *, or_name: bool) -> str:
    """What ``model`` is not, and what may have been meant."""
    if "://" in model:
        return unknown_scheme(model)
    if not or_name or Path(model).name != model:
        return f"There is no file or folder {model!r}."
    from modelyard.catalog.catalog import load
    from modelyard.cli.common import client

    if model in load().entries:
        return (
            f"{model!r} is neither a file or folder here, nor a registered model. The catalog has it: modelyard "
            f"catalog deploy {model}"
        )
    told = f"{model!r} is neither a file or folder here, nor an entry of the catalog"
    try:
        with client() as platform:
            names = [each.name for each in platform.models()]
    except Unavailable:
        return f"{told}; which models are registered is not known while no platform runs (modelyard up)."
    near = difflib.get_close_matches(model.lower(), names, 1)
    return f"{told}, nor a registered model" + (f"; did you mean {near[0]}?" if near else ".")
