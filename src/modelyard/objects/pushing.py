"""A push: an object becomes files that answer as it does, or files come from anywhere; then they are sent."""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple, Unpack

from modelyard.client import AsyncClient, Client, deploy_flow, flows, push_flow, registry_flows
from modelyard.client.flows import Session
from modelyard.client.location import find_home
from modelyard.client.progress import StageProgress
from modelyard.client.push_flow import Arrived
from modelyard.client.steps import Flow, Work
from modelyard.core.units import format_bytes
from modelyard.objects.saving import place_of, save
from modelyard.objects.stages import Stages
from modelyard.objects.terms import Terms, Wanted, wanted_of
from modelyard.pipeline.sources import Found, bring, is_elsewhere


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


def push(
    model: object, name: str | None = None, *, client: Client | None = None, **terms: Unpack[Terms]
) -> Pushed:
    """Make a version of the model ``name`` out of a Python object; or out of files: a path, or an address of the hub, the
    web, git, a bucket or MLflow, as ``modelyard models push`` takes them, which may name themselves.

    The terms are those of :class:`modelyard.objects.terms.Terms`: ``example``, ``processor``, ``tolerance``,
    ``trust_pickle``, ``because``, ``sign``, ``description``, ``task``, ``licence``, ``tags``, ``metrics``, ``alias``, ``deploy``
    (with the options of :class:`modelyard.client.options.Options`), ``sha256``, ``tracking_uri``, ``quiet``.

    Raises InvalidInput for what cannot be pushed, saying what can, RejectedContent for an object that cannot be saved, or
    answers otherwise than its files, what hinders the fetching of files, Unavailable while no platform runs or the disk
    is full. Of an object nothing is left behind then; what was fetched is kept, and gone on with.
    """
    wanted = wanted_of(name, terms, files=_is_files(model))
    platform = client or Client()
    try:
        with StageProgress(quiet=wanted.quiet) as progress:
            return platform.carry_out(lambda session: _push(session, model, wanted, Stages(progress.show)))
    finally:
        if client is None:
            platform.close()


async def push_async(
    model: object, name: str | None = None, *, client: AsyncClient | None = None, **terms: Unpack[Terms]
) -> Pushed:
    """:func:`push`, awaited: fetching, saving and comparing are done by a thread."""
    wanted = wanted_of(name, terms, files=_is_files(model))
    platform = client or AsyncClient()
    try:
        with StageProgress(quiet=wanted.quiet) as progress:
            return await platform.carry_out(
                lambda session: _push(session, model, wanted, Stages(progress.show))
            )
    finally:
        if client is None:
            await platform.close()


def _is_files(model: object) -> bool:
    return isinstance(model, str | Path)


def _push(session: Session, model: object, wanted: Wanted, stages: Stages) -> Flow[Pushed]:
    with ExitStack() as stack:
        if isinstance(model, str | Path):
            where = str(model)
            found: Found = yield Work(lambda: _bring(where, wanted, stages))
            checked = 0
        else:
            folder = stack.enter_context(place_of(wanted.name or "model"))
            made = yield Work(lambda: save(model, folder, wanted, stages))
            found, checked = Found(folder, made.source), made.checked
        card = wanted.card if found.card is None else wanted.card.filled(found.card)
        sent = push_flow.Terms(wanted.trusted, wanted.because, card, found.source, wanted.sign)
        arrived = yield from push_flow.push(session, found.path, wanted.name, sent, stages.on_event)
        called, number = arrived.version.model, arrived.version.number
        if arrived.kept:
            stages.warn(arrived.note)
        if wanted.alias is not None:
            yield from registry_flows.move_alias(
                session, called, wanted.alias, number, wanted.because, None
            )
        predict_url = None
        if wanted.deploy:
            predict_url = yield from _deploy(session, f"{called}/{number}", wanted, stages)
        found.forget()
    return _told(arrived, checked, wanted, predict_url)


def _bring(model: str, wanted: Wanted, stages: Stages) -> Found:
    """The files that ``model`` names, here."""

    def fetched(say: Callable[[str], None]) -> Found:
        return bring(
            model, find_home().root.absolute(), sha256=wanted.sha256, tracking=wanted.tracking_uri,
            trusted=wanted.trusted, progress=say,
        )  # fmt: skip

    if wanted.sha256 is None and not is_elsewhere(model):
        return fetched(stages.say)
    stages.begin("download", "Fetching it")
    found = fetched(stages.say)
    stages.done(
        f"{found.source.name}"
        + ("" if found.source.revision is None else f" at {found.source.revision[:12]}")
    )
    return found


def _deploy(session: Session, named: str, wanted: Wanted, stages: Stages) -> Flow[str]:
    """Where the endpoint is called that serves the version now."""
    wishes = deploy_flow.Wishes(False, wanted.settings, False)
    job = yield from deploy_flow.begin_version(session, named, None, wishes)
    job = yield from deploy_flow.follow(session, job.id, stages.on_event)
    deploy_flow.raise_failure(job)
    return (yield from flows.endpoint(session, named.partition("/")[0])).predict_url


def _told(arrived: Arrived, checked: int, wanted: Wanted, predict_url: str | None) -> Pushed:
    version = arrived.version
    page = arrived.url
    if predict_url is not None:
        page = f"{arrived.url.partition('/models/')[0]}/endpoints/{version.model}"
    return Pushed(
        name=version.model, version=version.number, digest=version.digest, format=version.analysis.format,
        size=version.manifest.size, new=arrived.new, checked=checked, url=page, predict_url=predict_url,
        alias=wanted.alias,
    )  # fmt: skip
