"""Where a model comes from that somebody names: this machine, the hub, the web, git, a bucket, MLflow; its files brought here.

What fetches is imported when something is fetched: most models are paths.
"""

import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from modelyard.core.card import Card
from modelyard.core.errors import InvalidInput, NotFound
from modelyard.core.provenance import Source

Progress = Callable[[str], None]
HUB = "hf://"
MLFLOW = "mlflow:"


class Found(NamedTuple):
    """A model's files on this machine, where they came from, and what is said of them there. ``spent`` is a folder that
    nobody needs once they are pushed."""

    path: Path
    source: Source
    card: Card | None = None
    spent: Path | None = None

    def forget(self) -> None:
        """Remove what nobody needs any more."""
        if self.spent is not None:
            shutil.rmtree(self.spent, ignore_errors=True)


def is_elsewhere(model: str) -> bool:
    """Whether ``model`` is an address, and not a path of this machine."""
    if model.startswith((HUB, MLFLOW)):
        return True
    if "://" not in model and ("@" not in model or Path(model).exists()):
        return False
    from modelyard.package.source import is_address

    return is_address(model)


def bring(
    model: str,
    home: Path,
    *,
    sha256: str | None = None,
    tracking: str | None = None,
    trusted: bool = False,
    progress: Progress,
) -> Found:
    """The file or folder that ``model`` is, fetched below ``home`` when it is elsewhere.

    ``sha256`` is the checksum that a file of the web must have; ``tracking`` is where MLflow is. Raises InvalidInput for
    what is no source, or has no use for one of them, NotFound for a path that is not there, and what hinders the
    fetching.
    """
    if tracking is not None and not model.startswith(MLFLOW):
        raise InvalidInput("It is for mlflow:… alone.", field="tracking_uri")
    if sha256 is not None:
        from modelyard.package.address import with_digest

        model = with_digest(model, sha256)
    if model.startswith(MLFLOW):
        return _from_mlflow(model, tracking, home / "sources" / "mlflow", trusted, progress)
    if model.startswith(HUB):
        from modelyard.pipeline.fetch import fetch_hub

        got = fetch_hub(model.removeprefix(HUB), home / "hub", progress=progress)
        return Found(got.folder, source_of("hub", model, got.revision))
    if is_elsewhere(model):
        from modelyard.package.source import bring as bring_address

        brought = bring_address(model, home / "sources", progress=progress)
        progress(f"fetched {brought.told}")
        return Found(brought.folder, source_of(brought.kind, model, brought.revision))
    path = Path(model).expanduser()
    if not path.exists():
        if "://" in model:
            raise InvalidInput(unknown_scheme(model), field="model")
        raise NotFound(f"There is no file or folder {model!r}.", field="model")
    return Found(path, Source(kind="path", name=path.absolute().name))


def unknown_scheme(model: str) -> str:
    """What is said of an address that begins as none that is taken does."""
    return (
        f"Nothing can be fetched from {model.partition('://')[0][:80]}://; what is taken is a file or a folder here, "
        "hf://, https://, ssh:// or git@ (a git repository), s3://, gs://, az://, and mlflow:."
    )


def source_of(kind: str, address: str, revision: str | None) -> Source:
    """What ``address`` (as it was typed) names, of a kind that :mod:`modelyard.onboard.material` or
    :mod:`modelyard.package.source` says; ``revision`` is what came."""
    from modelyard.core.addresses import shown

    if kind == "hub":
        return Source(kind="hub", name=address.removeprefix(HUB).partition("@")[0], revision=revision)
    if kind == "git":
        from modelyard.package.git import parse

        return Source(kind="git", name=shown(parse(address).url), revision=revision)
    if kind == "file":
        return Source(kind="url", name=shown(address.partition("#")[0]), sha256=revision)
    if kind == "bucket":
        return Source(kind="url", name=shown(address), revision=revision)
    if kind in ("package", "source"):
        return Source(kind="package", name=revision or address)
    return Source(kind="path", name=Path(address).expanduser().absolute().name)


def _from_mlflow(named: str, uri: str | None, root: Path, trusted: bool, progress: Progress) -> Found:
    from modelyard.package.mlflow.tracking import RunPath, parse, tracking_at
    from modelyard.pipeline import mlflow

    what = parse(named)
    with closing(tracking_at(uri)) as tracking:
        model = None
        if not isinstance(what, RunPath):
            model = tracking.model(what.name)
            what = mlflow.find(tracking, what)
        brought = mlflow.bring(tracking, what, root, model=model, trusted=trusted, progress=progress)
    return Found(brought.folder, brought.source, brought.card, brought.folder.parent)
