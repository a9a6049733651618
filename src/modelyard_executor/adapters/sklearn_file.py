"""The file of a fitted estimator: skops, joblib or pickle."""

import contextlib
import pickle
from pathlib import Path
from typing import Any

from ..adapter import LoadError

# What skops asks about although it only describes data.
_HARMLESS = frozenset({"numpy.dtype"})
# Of what skops asks about, what most estimators have that are made of trees: tried at once where its maker is trusted,
# because to ask first is to read the file twice.
_USUAL = ("sklearn.tree._tree.Tree",)


def read(path: Path, loader: str, trusted: bool) -> Any:
    """The estimator in ``path``; ``loader`` is skops, joblib or pickle, of which the others than skops run what is
    ``trusted`` alone.

    Raises LoadError with what is to be done.
    """
    try:
        if loader == "skops":
            return _read_skops(path, trusted)
        if not trusted:
            raise LoadError(
                "loading %s can run any code that its maker put into it; deploy it with --trust-pickle if you "
                "trust where it comes from, or save the estimator with skops" % path.name
            )
        if loader == "joblib":
            import joblib

            return joblib.load(path)
        if loader == "pickle":
            with path.open("rb") as file:
                return pickle.load(file)  # noqa: S301 (trusted: checked above)
    except ModuleNotFoundError as error:
        raise LoadError(
            "%s needs the package of the module %r; add it to the model's requirements"
            % (path.name, error.name)
        ) from error
    raise LoadError("there is no loader %r; known: skops, joblib, pickle" % loader)


def _read_skops(path: Path, trusted: bool) -> Any:
    from skops import io
    from skops.io.exceptions import UntrustedTypesFoundException

    with contextlib.suppress(UntrustedTypesFoundException):
        return io.load(path, trusted=[*_HARMLESS, *(_USUAL if trusted else ())])
    found = sorted(io.get_untrusted_types(file=path))
    unknown = [name for name in found if name not in _HARMLESS]
    if unknown and not trusted:
        raise LoadError(
            "%s uses types that skops does not know to be safe: %s; deploy it with --trust-pickle if you trust "
            "where it comes from" % (path.name, ", ".join(unknown))
        )
    return io.load(path, trusted=found)


def limit_jobs(estimator: Any, threads: int) -> None:
    """An estimator saved with n_jobs=-1 would start a thread for each core that others need."""
    if not hasattr(estimator, "get_params"):
        return
    for name, value in estimator.get_params(deep=True).items():
        if name.split("__")[-1] == "n_jobs" and isinstance(value, int) and not 1 <= value <= threads:
            estimator.set_params(**{name: threads})
