"""An object becomes files: written, loaded again by another process, and compared with it."""

import errno
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from modelyard.analyze import analyze
from modelyard.core.errors import ModelyardError, Unavailable
from modelyard.core.model import Analysis
from modelyard.core.provenance import Source
from modelyard.host.temporary import temporary
from modelyard.objects import compare, example
from modelyard.objects.libraries import library_of
from modelyard.objects.library import Given
from modelyard.objects.stages import Stages
from modelyard.objects.terms import Wanted
from modelyard.onboard.trial import prove
from modelyard.package import pins
from modelyard.store.files import FolderFiles


class Made(NamedTuple):
    """Files that are ready to be sent; ``checked``: on how many records of the example they answered as the object did."""

    source: Source
    checked: int


@contextmanager
def place_of(name: str) -> Iterator[Path]:
    """A new folder called ``name`` that is gone afterwards, whatever happened. A full disk is told as one."""
    try:
        with temporary("modelyard-push-") as place:
            (place / name).mkdir()
            yield place / name
    except OSError as error:
        if isinstance(error, ModelyardError) or error.errno not in (
            errno.ENOSPC,
            errno.EDQUOT,
            errno.EFBIG,
        ):
            raise
        raise Unavailable(
            f"There is no room to save the model in {tempfile.gettempdir()}: {error.strerror}. Make some, or set TMPDIR to a "
            "folder on a larger disk."
        ) from error


def save(model: object, folder: Path, wanted: Wanted, stages: Stages) -> Made:
    """``model`` as files in the empty ``folder`` that answer as it does.

    Raises InvalidInput for what cannot be pushed, RejectedContent for an object that cannot be saved, or answers
    otherwise than its files.
    """
    library = library_of(model)
    shown = example.read(wanted.example)
    stages.begin("save", f"Saving a {type(model).__name__}")
    saved = library.save(model, folder, Given(shown, wanted.processor, wanted.trusted))
    shown = saved.example or shown
    declared: dict[str, Any] = {} if saved.signature is None else {"signature": saved.signature}
    _write(folder, declared)
    analysis = analyze(FolderFiles(folder))
    stages.done(f"a {type(model).__name__} as {analysis.format}")
    stages.begin("compare", "Loading it in another process, and asking it for the example")
    proof = prove(
        folder,
        analysis,
        sys.executable,
        lambda signature, own: (
            [dict(own)]
            if shown is None and own
            else []
            if shown is None
            else example.records_of(shown, signature)
        ),
        trusted=wanted.trusted,
    )
    checked = 0
    if saved.answers is not None and proof.answers:
        own = dict(saved.answers())
        if (
            shown is not None and len(proof.answers) == 1 and shown.rows > 1
        ):  # of a model that takes them together
            own = {name: [values] for name, values in own.items()}
        worst = compare.compare(own, proof.answers, wanted.tolerance)
        checked = len(proof.answers)
        told = f"it answers as the object on {checked} record(s), at most {worst:.1g} apart"
    elif shown is not None:
        told = "it answers the example; what the object itself says was not compared"
    else:
        told = "it loads; without an example it was not asked"
    stages.done(told)
    for note in _complete(folder, declared, analysis, saved.requirements, proof.records, saved.python):
        stages.warn(note)
    analyze(FolderFiles(folder))
    for note in saved.notes:
        stages.warn(note)
    kind = type(model)
    name = model.__name__ if callable(model) and hasattr(model, "__name__") else kind.__qualname__
    return Made(Source(kind="object", name=f"{kind.__module__}.{name}"), checked)


def _complete(
    folder: Path,
    declared: dict[str, Any],
    analysis: Analysis,
    packages: Sequence[str],
    records: Sequence[Mapping[str, Any]],
    python: bool,
) -> Sequence[str]:
    """Write what was learnt into model.yaml: exact versions, the Python where it matters, the example. What to say of it."""
    lines, notes = pins.pinned(analysis.requirements, packages)
    if lines:
        declared["requirements"] = list(lines)
    if python:
        declared["python"] = f"{sys.version_info.major}.{sys.version_info.minor}"
    if records:
        declared["example"] = example.as_json(records[0])
    _write(folder, declared)
    return notes


def _write(folder: Path, declared: Mapping[str, Any]) -> None:
    if declared:
        text = yaml.safe_dump(dict(declared), sort_keys=False, allow_unicode=True, default_flow_style=None)
        (folder / "model.yaml").write_text(text, encoding="utf-8")
