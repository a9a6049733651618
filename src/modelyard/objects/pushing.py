"""A push: an object becomes files, the files are loaded again and compared with it, and only then sent."""

import asyncio
import difflib
import errno
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple, Unpack

import yaml

from modelyard.analyze import analyze
from modelyard.client import AsyncClient, Client
from modelyard.client.options import Options, settings_of
from modelyard.client.push_flow import Arrived
from modelyard.core.card import Card, check_card, figures_table
from modelyard.core.errors import InvalidInput, ModelyardError, Unavailable
from modelyard.core.model import Analysis
from modelyard.core.names import check_name
from modelyard.core.provenance import Source
from modelyard.core.units import format_bytes
from modelyard.objects import compare, example
from modelyard.objects.libraries import library_of
from modelyard.objects.library import Given
from modelyard.onboard.trial import prove
from modelyard.package import pins
from modelyard.store.files import FolderFiles

Tell = Callable[[str], None]
_OWN: Final = (
    "example", "processor", "trust_pickle", "because", "tolerance", "description", "task", "licence", "tags", "metrics",
    "alias", "deploy", "client", "quiet",
)  # fmt: skip


class Pushed(NamedTuple):
    """The version that something became. ``new``: it was not there before; ``checked``: on how many records of the example
    its files answered as the object did; ``url`` is its page, or of one that was deployed its endpoint's;
    ``predict_url`` is where records are posted to."""

    name: str
    version: int
    digest: str
    format: str
    size: int
    new: bool
    checked: int
    url: str
    predict_url: str | None = None
    alias: str | None = None

    def __repr__(self) -> str:
        told = [f"{self.name}/{self.version}", self.format, format_bytes(self.size)]
        told.append("new" if self.new else "there already")
        if self.checked:
            told.append(f"answers as the object on {self.checked} record{'s' if self.checked > 1 else ''}")
        if self.alias is not None:
            told.append(f"@{self.alias}")
        return f"<Pushed {', '.join(told)}: {self.predict_url or self.url}>"


class _Wanted(NamedTuple):
    """What was asked for, checked."""

    name: str
    card: Card
    alias: str | None
    deploy: bool
    settings: Mapping[str, Any]
    trust: bool
    because: str


class _Made(NamedTuple):
    """Files that are ready to be sent."""

    folder: Path
    source: Source | None
    checked: int


def push(
    model: object,
    name: str,
    *,
    example: object = None,
    processor: object = None,
    trust_pickle: bool = False,
    because: str = "",
    tolerance: float = compare.TOLERANCE,
    description: str | None = None,
    task: str | None = None,
    licence: str | None = None,
    tags: Sequence[str] = (),
    metrics: Mapping[str, float] | None = None,
    alias: str | None = None,
    deploy: bool = False,
    client: Client | None = None,
    quiet: bool = False,
    **options: Unpack[Options],
) -> Pushed:
    """Make a version of the model ``name`` out of a Python object (or of the file or folder at a path).

    ``example`` is what the object is called with: rows of numpy or pandas, tensors, texts, records. What was saved is
    loaded by another process and has to answer it as the object does, but for ``tolerance`` (relative to the largest
    number of an output); its first record becomes the version's example. ``processor``: the tokenizer of a model of
    transformers. ``trust_pickle`` allows a format that runs code when it loads, where there is no other; ``because`` is
    kept beside it. ``description`` (Markdown), ``task``, ``licence`` (SPDX) and ``tags`` fill the model's card with what
    it does not say yet; ``metrics`` are the version's own. ``alias`` is moved to the version; ``deploy`` deploys it on the endpoint of that name, with the ``options`` of
    :class:`modelyard.client.options.Options`.

    Raises InvalidInput for what cannot be pushed, saying what can, RejectedContent for an object that cannot be saved, or answers
    otherwise than its files, Unavailable while no platform runs or the disk is full. Nothing is left behind then.
    """
    tell = _silent if quiet else _say
    wanted = _wanted(
        name, description, task, licence, tags, metrics, alias, deploy, options, trust_pickle, because
    )
    with _folder(wanted.name) as folder:
        made = _made(model, folder, example, processor, wanted, tolerance, tell)
        platform = client or Client()
        try:
            arrived = platform.push(made.folder, wanted.name, **_terms(wanted, made))
            if wanted.alias is not None:
                platform.registry.alias(wanted.name, wanted.alias, arrived.version.number, because=because)
            predict_url = None
            if wanted.deploy:
                tell(f"deploying {wanted.name}/{arrived.version.number}")
                job = platform.begin_deploy_version(
                    f"{wanted.name}/{arrived.version.number}", settings=wanted.settings
                )
                _raise(platform.follow(job.id, lambda event: None))
                predict_url = platform.endpoint(wanted.name).predict_url
        finally:
            if client is None:
                platform.close()
    return _told(arrived, made, wanted, predict_url, tell)


async def push_async(
    model: object,
    name: str,
    *,
    example: object = None,
    processor: object = None,
    trust_pickle: bool = False,
    because: str = "",
    tolerance: float = compare.TOLERANCE,
    description: str | None = None,
    task: str | None = None,
    licence: str | None = None,
    tags: Sequence[str] = (),
    metrics: Mapping[str, float] | None = None,
    alias: str | None = None,
    deploy: bool = False,
    client: AsyncClient | None = None,
    quiet: bool = False,
    **options: Unpack[Options],
) -> Pushed:
    """:func:`push`, awaited: saving and comparing are done by a thread."""
    tell = _silent if quiet else _say
    wanted = _wanted(
        name, description, task, licence, tags, metrics, alias, deploy, options, trust_pickle, because
    )
    with _folder(wanted.name) as folder:
        made = await asyncio.to_thread(_made, model, folder, example, processor, wanted, tolerance, tell)
        platform = client or AsyncClient()
        try:
            arrived = await platform.push(made.folder, wanted.name, **_terms(wanted, made))
            if wanted.alias is not None:
                await platform.registry.alias(
                    wanted.name, wanted.alias, arrived.version.number, because=because
                )
            predict_url = None
            if wanted.deploy:
                tell(f"deploying {wanted.name}/{arrived.version.number}")
                job = await platform.begin_deploy_version(
                    f"{wanted.name}/{arrived.version.number}", settings=wanted.settings
                )
                _raise(await platform.follow(job.id, lambda event: None))
                predict_url = (await platform.endpoint(wanted.name)).predict_url
        finally:
            if client is None:
                await platform.close()
    return _told(arrived, made, wanted, predict_url, tell)


def _wanted(
    name: str,
    description: str | None,
    task: str | None,
    licence: str | None,
    tags: Sequence[str],
    metrics: Mapping[str, float] | None,
    alias: str | None,
    deploy: bool,
    options: Mapping[str, Any],
    trust: bool,
    because: str,
) -> _Wanted:
    """Everything that can be wrong without looking at the object is found before any work is done."""
    for option in options:
        near = difflib.get_close_matches(option, _OWN, 1)
        if option not in Options.__annotations__ and near:
            raise InvalidInput(f"There is no option {option!r}; did you mean {near[0]!r}?", field=option)
    settings = settings_of(options)
    if options and not deploy:
        raise InvalidInput(
            f"{next(iter(options))} is an option of a deployment; say deploy=True, too.",
            field=next(iter(options)),
        )
    if isinstance(tags, str):
        raise InvalidInput("tags is a list of words.", field="tags")
    tables = (figures_table(metrics),) if metrics else ()
    card = check_card(Card(text=description, task=task, licence=licence, tags=tuple(tags), metrics=tables))
    if alias is not None:
        check_name(alias, field="alias")
    return _Wanted(check_name(name), card, alias, deploy, settings, trust, because)


@contextmanager
def _folder(name: str) -> Any:
    """A folder that is gone afterwards, whatever happened. A full disk is told as one."""
    place = Path(tempfile.mkdtemp(prefix="modelyard-push-"))
    try:
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
            f"There is no room to save the model in {place.parent}: {error.strerror}. Make some, or set TMPDIR to a folder on a "
            "larger disk."
        ) from error
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _made(
    model: object,
    folder: Path,
    given: object,
    processor: object,
    wanted: _Wanted,
    tolerance: float,
    tell: Tell,
) -> _Made:
    """``model`` as files that answer as it does."""
    if isinstance(model, str | Path):
        if given is not None or processor is not None:
            raise InvalidInput(
                "Files bring their example with them (model.yaml); example and processor are for objects.",
                field="example",
            )
        return _Made(Path(model).expanduser(), None, 0)
    library = library_of(model)
    shown = example.read(given)
    tell(f"saving a {type(model).__name__}")
    saved = library.save(model, folder, Given(shown, processor, wanted.trust))
    shown = saved.example or shown
    declared: dict[str, Any] = {} if saved.signature is None else {"signature": saved.signature}
    _write(folder, declared)
    analysis = analyze(FolderFiles(folder))
    tell(f"loading {analysis.format} in another process, and asking it for the example")
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
        trusted=wanted.trust,
    )
    checked = 0
    if saved.answers is not None and proof.answers:
        own = dict(saved.answers())
        if (
            shown is not None and len(proof.answers) == 1 and shown.rows > 1
        ):  # of a model that takes them together
            own = {name: [values] for name, values in own.items()}
        worst = compare.compare(own, proof.answers, tolerance)
        checked = len(proof.answers)
        tell(f"it answers as the object on {checked} record(s), at most {worst:.1g} apart")
    elif shown is not None:
        tell("it answers the example; what the object itself says was not compared")
    _complete(folder, declared, analysis, saved.requirements, proof.records, saved.python, tell)
    analyze(FolderFiles(folder))
    for note in saved.notes:
        tell(note)
    kind = type(model)
    name = model.__name__ if callable(model) and hasattr(model, "__name__") else kind.__qualname__
    return _Made(folder, Source(kind="object", name=f"{kind.__module__}.{name}"), checked)


def _complete(
    folder: Path,
    declared: dict[str, Any],
    analysis: Analysis,
    packages: Sequence[str],
    records: Sequence[Mapping[str, Any]],
    python: bool,
    tell: Tell,
) -> None:
    """Write what was learnt into model.yaml: exact versions, the Python where it matters, the example."""
    lines, notes = pins.pinned(analysis.requirements, packages)
    for note in notes:
        tell(note)
    if lines:
        declared["requirements"] = list(lines)
    if python:
        declared["python"] = f"{sys.version_info.major}.{sys.version_info.minor}"
    if records:
        declared["example"] = example.as_json(records[0])
    _write(folder, declared)


def _write(folder: Path, declared: Mapping[str, Any]) -> None:
    if declared:
        text = yaml.safe_dump(dict(declared), sort_keys=False, allow_unicode=True, default_flow_style=None)
        (folder / "model.yaml").write_text(text, encoding="utf-8")


def _terms(wanted: _Wanted, made: _Made) -> dict[str, Any]:
    return {
        "trust_pickle": wanted.trust,
        "because": wanted.because,
        "card": wanted.card,
        "source": made.source,
    }


def _raise(job: Any) -> None:
    from modelyard.client.deploy_flow import raise_failure

    raise_failure(job)


def _told(arrived: Arrived, made: _Made, wanted: _Wanted, predict_url: str | None, tell: Tell) -> Pushed:
    version = arrived.version
    page = arrived.url
    if predict_url is not None:
        page = f"{arrived.url.partition('/models/')[0]}/endpoints/{wanted.name}"
    pushed = Pushed(
        name=version.model, version=version.number, digest=version.digest, format=version.analysis.format,
        size=version.manifest.size, new=arrived.new, checked=made.checked, url=page, predict_url=predict_url,
        alias=wanted.alias,
    )  # fmt: skip
    tell(f"{version.model}/{version.number}" + ("" if arrived.new else " (there already)"))
    if arrived.kept:
        tell(arrived.note)
    return pushed


def _say(text: str) -> None:
    """On the standard error; a notebook shows that in red, so there on its output."""
    print(f"modelyard: {text}", file=sys.stdout if "ipykernel" in sys.modules else sys.stderr, flush=True)


def _silent(_: str) -> None:
    """Nobody wants to be told."""
