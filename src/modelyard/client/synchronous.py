"""The client that blocks."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Unpack

from modelyard.client import (
    deploy_flow,
    flows,
    prediction_flows,
    prediction_jobs,
    pull_flow,
    push_flow,
    records,
)
from modelyard.client.access import Access
from modelyard.client.answers import (
    EndpointInfo,
    EnvironmentInfo,
    EnvironmentsFreed,
    ModelInfo,
    PlatformInfo,
    RemotesInfo,
    StoreCollected,
    StoreInfo,
    StoreReport,
)
from modelyard.client.flows import Session
from modelyard.client.options import Options, settings_of
from modelyard.client.registry import Registry
from modelyard.client.transport import Transport
from modelyard.core.card import Card
from modelyard.core.deployment import DeploymentSettings
from modelyard.core.errors import ModelyardError
from modelyard.core.job import Job, JobEvent, PredictionJob
from modelyard.core.model import Version
from modelyard.core.provenance import Provenance, Source
from modelyard.core.remotes import RemoteRoute
from modelyard.core.routes import Remote
from modelyard.core.scan import VersionScan
from modelyard.core.signing import FileSignature


class Client:
    """Speaks to one platform. Safe to share between threads; usable as a context manager.

    ``url`` is the control plane's address (default: MODELYARD_URL, else the platform that runs in
    ``home``); ``api_key`` defaults to MODELYARD_API_KEY, else the home's own. ``project`` is the
    one to work in (default: MODELYARD_PROJECT, else the key's own, else all that there are). ``timeout``, in seconds,
    is for one prediction, retries included; only calls that cannot have been computed are retried.

    Every method raises the errors of ``modelyard.core.errors``; ``error.code``, ``error.field`` and
    ``error.retry_after`` say more.
    """

    def __init__(
        self,
        url: str | None = None,
        api_key: str | None = None,
        home: str | None = None,
        *,
        timeout: float = 60.0,
        project: str | None = None,
    ) -> None:
        self._session = Session(url, api_key, home, timeout, project)
        self._transport = Transport()
        self.registry = Registry(self._session, self._transport)
        self.access = Access(self._session, self._transport)

    def __enter__(self) -> "Client":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections that are kept for the next call."""
        self._transport.close()

    def deploy(
        self,
        path: str | Path,
        name: str | None = None,
        *,
        trust_pickle: bool = False,
        because: str = "",
        reset: bool = False,
        source: Source | None = None,
        sign: deploy_flow.Signer | None = None,
        on_event: Callable[[JobEvent], None] | None = None,
        **options: Unpack[Options],
    ) -> EndpointInfo:
        """Deploy the file or folder ``path`` and wait until it serves; the endpoint as it then stands.

        ``name`` defaults to the nearest to the file's name. ``trust_pickle`` allows a model whose
        loading runs code, and ``because`` is kept beside that. ``source`` says where the files came from (not given:
        their path), for the version's provenance; ``sign`` signs them (``modelyard.signer("private.pem")``).
        ``on_event`` is told each step. The other options are those of
        :class:`modelyard.client.options.Options`; one that is not given stays as the endpoint has it,
        or with ``reset`` goes back to its default.
        Raises RejectedContent for files that are no model, Internal with the model's traceback when
        it does not start.
        """
        return self._run(
            deploy_flow.deploy(
                self._session,
                Path(path),
                name,
                deploy_flow.Wishes(
                    trust_pickle, settings_of(options), reset, source=source, because=because, sign=sign
                ),
                on_event or _ignore,
            )
        )

    def begin_deploy(
        self,
        path: str | Path,
        name: str | None = None,
        *,
        trust_pickle: bool = False,
        because: str = "",
        settings: DeploymentSettings | Mapping[str, Any] | None = None,
        reset: bool = False,
        card: Card | None = None,
        source: Source | None = None,
        sign: deploy_flow.Signer | None = None,
        on_event: Callable[[JobEvent], None] | None = None,
    ) -> Job:
        """Upload what is missing and create the deployment's job, without waiting for it.

        ``settings`` is a whole, or the part of its JSON form that is to change. ``card`` fills what the model's
        card does not say yet.
        """
        return self._run(
            deploy_flow.begin(
                self._session,
                Path(path),
                name,
                deploy_flow.Wishes(
                    trust_pickle,
                    settings or {},
                    reset,
                    card=card,
                    source=source,
                    because=because,
                    sign=sign,
                ),
                on_event or _ignore,
            )
        )

    def push(
        self,
        path: str | Path,
        name: str | None = None,
        *,
        trust_pickle: bool = False,
        because: str = "",
        card: Card | None = None,
        source: Source | None = None,
        sign: deploy_flow.Signer | None = None,
        on_event: Callable[[JobEvent], None] | None = None,
    ) -> push_flow.Arrived:
        """Make a version of the file or folder ``path``, without deploying it; the same files are the same version.

        The options are those of :meth:`deploy`; ``card`` fills what the model's card does not say yet, ``sign`` signs
        the files (``modelyard.signer("private.pem")``). Raises RejectedContent for files that are no model, or that
        execute code and are not trusted. Python objects are pushed by ``modelyard.push``.
        """
        terms = push_flow.Terms(trust_pickle, because, card, source, sign)
        return self._run(push_flow.push(self._session, Path(path), name, terms, on_event or _ignore))

    def pull(
        self,
        named: str,
        to: str | Path | None = None,
        *,
        on_event: Callable[[JobEvent], None] | None = None,
    ) -> pull_flow.Pulled:
        """The files of a version (``fraud``, ``fraud/3``, ``fraud@production``) in the folder ``to``, which must not be
        there (default: ``fraud-3``); each is checked by its digest. Raises NotFound, Conflict."""
        flow = pull_flow.pull(self._session, named, None if to is None else Path(to), on_event or _ignore)
        return self._run(flow)

    def begin_deploy_version(
        self,
        named: str,
        endpoint: str | None = None,
        *,
        settings: DeploymentSettings | Mapping[str, Any] | None = None,
        reset: bool = False,
    ) -> Job:
        """Create the job that brings a version that is registered (``fraud``, ``fraud/3``, ``fraud@production``) to an
        endpoint (default: of the model's name), without waiting for it. Raises NotFound."""
        wishes = deploy_flow.Wishes(False, settings or {}, reset)
        return self._run(deploy_flow.begin_version(self._session, named, endpoint, wishes))

    def follow(self, job: str, on_event: Callable[[JobEvent], None], *, after: int = 0) -> Job:
        """Tell ``on_event`` the story of a job, from the event after ``after``, until it has ended."""
        return self._run(deploy_flow.follow(self._session, job, on_event, after))

    def predict(
        self,
        endpoint: str,
        record: Mapping[str, Any] | None = None,
        /,
        *,
        raw: bool = False,
        timeout: float | None = None,
        priority: int | None = None,
        cache: bool = True,
        **inputs: Any,
    ) -> dict[str, Any]:
        """The outputs, by name, for one record: inputs and parameters by name, numpy arrays welcome.

        Inputs have the signature's shape, without a batch axis; so have the outputs, as numpy arrays of
        the signature's datatypes when numpy is installed (``raw``: as JSON has them).

        ``timeout`` is the call's own, in seconds, told to the node as well; ``priority`` 1 is the most
        urgent, larger numbers follow; without ``cache`` the answer is computed anew. An input of one of
        these names goes into ``record``. Raises InvalidInput naming the field, NotFound, Overloaded,
        Deadline.
        """
        call = prediction_flows.CallOptions(timeout, priority, cache)
        return self._run(
            prediction_flows.predict(self._session, endpoint, records.merge(record, inputs), raw, call)
        )

    def predict_batch(
        self,
        endpoint: str,
        batch: Sequence[Mapping[str, Any]],
        /,
        *,
        raw: bool = False,
        timeout: float | None = None,
        priority: int | None = None,
        cache: bool = True,
    ) -> list[dict[str, Any] | ModelyardError]:
        """As :meth:`predict` for many records in one request; a bad record's outcome is its error."""
        call = prediction_flows.CallOptions(timeout, priority, cache)
        return self._run(prediction_flows.predict_batch(self._session, endpoint, batch, raw, call))

    def predict_stream(
        self,
        endpoint: str,
        record: Mapping[str, Any],
        /,
        on_piece: Callable[[dict[str, Any]], None],
        *,
        timeout: float | None = None,
        priority: int | None = None,
    ) -> int:
        """As :meth:`predict`, with each piece of the answer told to ``on_piece`` as it comes (outputs by
        name, as JSON has them); how many there were. A model that does not stream gives one.

        Raises Unavailable when the answer breaks off."""
        call = prediction_flows.CallOptions(timeout, priority)
        return self._run(
            prediction_flows.predict_stream(self._session, endpoint, dict(record), call, on_piece)
        )

    def submit(
        self,
        endpoint: str,
        record: Mapping[str, Any] | None = None,
        /,
        *,
        priority: int | None = None,
        **inputs: Any,
    ) -> PredictionJob:
        """As :meth:`predict`, without waiting: the job that computes it, however long that takes. Calls whose
        callers wait are computed before it. Its answer (:meth:`result`) is kept for a day."""
        record = records.merge(record, inputs)
        return self._run(prediction_jobs.submit(self._session, endpoint, record, priority))

    def submit_batch(
        self, endpoint: str, batch: Sequence[Mapping[str, Any]], /, *, priority: int | None = None
    ) -> PredictionJob:
        """As :meth:`predict_batch`, without waiting."""
        return self._run(prediction_jobs.submit_batch(self._session, endpoint, batch, priority))

    def result(
        self, job: str, *, raw: bool = False, wait: bool = True, timeout: float | None = None
    ) -> dict[str, Any] | list[dict[str, Any] | ModelyardError]:
        """What :meth:`predict` (or :meth:`predict_batch`) would have answered, once the job has ended.

        Raises what that would have raised; Conflict for a job that was cancelled, or without ``wait`` for one
        that has not ended; Deadline when it takes longer than ``timeout`` seconds."""
        return self._run(prediction_jobs.result(self._session, job, raw, wait, timeout))

    def prediction_jobs(
        self, endpoint: str | None = None, *, state: str | None = None, limit: int = 50
    ) -> list[PredictionJob]:
        """The latest predictions that nobody waits for, newest first."""
        return self._run(prediction_jobs.jobs(self._session, endpoint, state, limit))

    def prediction_job(self, id: str, *, wait: float | None = None) -> PredictionJob:
        """One of them, now, or once it has ended but after ``wait`` seconds at the latest. Raises NotFound."""
        return self._run(prediction_jobs.job(self._session, id, wait))

    def cancel_prediction(self, id: str) -> PredictionJob:
        """End a prediction that has not ended; forget one that has. Raises NotFound."""
        return self._run(prediction_jobs.cancel(self._session, id))

    def endpoints(self) -> list[EndpointInfo]:
        """Every endpoint, with its state and traffic."""
        return self._run(flows.endpoints(self._session))

    def endpoint(self, name: str) -> EndpointInfo:
        """One endpoint. Raises NotFound."""
        return self._run(flows.endpoint(self._session, name))

    def wake(self, endpoint: str, *, timeout: float = 600.0) -> None:
        """Have the endpoint's model in memory when this returns. Raises NotFound, and Unavailable when it
        cannot be loaded."""
        self._run(prediction_flows.wake(self._session, endpoint, timeout))

    def sleep(self, endpoint: str) -> None:
        """Take the endpoint's model out of memory; the next call wakes it. Raises NotFound, and Conflict when
        it is always kept, or computes."""
        self._run(prediction_flows.sleep(self._session, endpoint))

    def logs(self, endpoint: str, *, tail: int = 200) -> str:
        """The last ``tail`` lines that the endpoint's replicas wrote. Raises NotFound."""
        return self._run(flows.logs(self._session, endpoint, tail))

    def delete(self, endpoint: str) -> None:
        """Delete an endpoint: its replicas finish what they compute and stop. Raises NotFound."""
        self._run(flows.delete(self._session, endpoint))

    def remotes(self) -> list[RemotesInfo]:
        """The remotes of every endpoint that has some, and how they are."""
        return self._run(flows.remotes(self._session))

    def remotes_of(self, endpoint: str) -> RemotesInfo:
        """The remotes of one endpoint, and how they are. Raises NotFound when it has none."""
        return self._run(flows.remotes_of(self._session, endpoint))

    def set_remotes(self, route: RemoteRoute) -> RemoteRoute:
        """Set all remotes of an endpoint: beside its deployment, or in place of one. Raises InvalidInput."""
        return self._run(flows.set_remotes(self._session, route))

    def add_remote(self, endpoint: str, remote: Remote) -> RemoteRoute:
        """One more remote, or another form of the one with its URL and model. Raises InvalidInput."""
        return self._run(flows.add_remote(self._session, endpoint, remote))

    def change_remotes(self, endpoint: str, *, weight: float | None = None, **retry: Any) -> RemoteRoute:
        """Another share of the endpoint's own deployment, other ``attempts``, ``budget`` or ``hedge``.
        What is not given stays. Raises NotFound, InvalidInput."""
        return self._run(flows.change_remotes(self._session, endpoint, weight, retry))

    def delete_remotes(self, endpoint: str, *, url: str | None = None, model: str | None = None) -> None:
        """Take an endpoint's remotes away: all, or those at ``url`` (asked for ``model``). Raises NotFound."""
        self._run(flows.delete_remotes(self._session, endpoint, url, model))

    def models(self) -> list[ModelInfo]:
        """Every model."""
        return self._run(flows.models(self._session))

    def model(self, name: str) -> ModelInfo:
        """One model with its versions. Raises NotFound."""
        return self._run(flows.model(self._session, name))

    def version(self, model: str, number: int) -> Version:
        """One version of a model. Raises NotFound."""
        return self._run(flows.version(self._session, model, number))

    def provenance(self, model: str, number: int) -> list[Provenance]:
        """Where the files of a version came from: each source, uploader and client once. Raises NotFound."""
        return self._run(flows.provenance(self._session, model, number))

    def signatures(self, model: str, number: int) -> list[FileSignature]:
        """The file signatures of a version, each with what the platform's keys say of it. Raises NotFound."""
        return self._run(flows.signatures(self._session, model, number))

    def add_signature(self, model: str, number: int, bundle: str) -> FileSignature:
        """Keep a file signature, the bundle of model-signing as text. Raises RejectedContent for one of other files."""
        return self._run(flows.add_signature(self._session, model, number, bundle))

    def sbom(self, model: str, number: int) -> dict[str, Any]:
        """The bill of materials of a version (CycloneDX): its files, and the packages that it last ran with."""
        return self._run(flows.sbom(self._session, model, number))

    def environment_sbom(self, id: str) -> dict[str, Any]:
        """The bill of materials of an environment (CycloneDX). Raises NotFound."""
        return self._run(flows.environment_sbom(self._session, id))

    def scan(self, model: str, number: int, *, again: bool = False) -> VersionScan:
        """Scan a version by what has not looked at it yet, or with ``again`` by everything; what was found.

        It goes into quarantine, or out of it, by that. Raises NotFound, and Unavailable while a scanner is away
        that is required.
        """
        return self._run(flows.scan(self._session, model, number, again))

    def scanned(self, model: str, number: int) -> VersionScan:
        """What scanners have said of a version until now. Raises NotFound."""
        return self._run(flows.scanned(self._session, model, number))

    def delete_model(self, name: str) -> None:
        """Delete a model with all its versions. Raises Conflict while an endpoint uses it."""
        self._run(flows.delete_model(self._session, name))

    def jobs(self, *, state: str | None = None, limit: int = 50) -> list[Job]:
        """The latest jobs, newest first."""
        return self._run(flows.jobs(self._session, state, limit))

    def job(self, id: str) -> Job:
        """One job. Raises NotFound."""
        return self._run(flows.job(self._session, id))

    def cancel(self, job: str) -> None:
        """Ask a job to stop. Raises Conflict when it has ended."""
        self._run(flows.cancel(self._session, job))

    def environments(self) -> list[EnvironmentInfo]:
        """All environments that are built, the oldest first."""
        return self._run(flows.environments(self._session))

    def clean_environments(
        self, *, older_than: float | None = None, dry_run: bool = False
    ) -> EnvironmentsFreed:
        """Remove the environments that nothing uses and nobody asked for within ``older_than`` seconds (None: the
        platform's ``environment_grace``); with ``dry_run`` only say which. Raises Unavailable while the node does
        not answer, because then nobody knows what is in use."""
        return self._run(flows.clean_environments(self._session, older_than, dry_run))

    def store_usage(self) -> StoreInfo:
        """What each model takes of the store, and what it has in common with others."""
        return self._run(flows.store_usage(self._session))

    def verify_store(
        self,
        *,
        deep: bool = False,
        repair: bool = False,
        on_progress: Callable[[StoreReport], None] | None = None,
    ) -> StoreReport:
        """Look at the bytes of all versions; ``deep`` reads every one, ``repair`` puts right what can be. Every few
        seconds ``on_progress`` is told what was found so far."""
        return self._run(flows.verify_store(self._session, deep, repair, on_progress))

    def collect_store(self) -> StoreCollected:
        """Have the platform do now what it does every hour: look at what is new for pieces that are there already, and
        remove what nothing uses."""
        return self._run(flows.collect_store(self._session))

    def status(self) -> PlatformInfo:
        """The platform as a whole: programs, addresses, memory."""
        return self._run(flows.status(self._session))

    def carry_out(self, flow: Callable[[Session], flows.Flow[flows.T]]) -> flows.T:
        """Walk a flow of several requests (``modelyard.client.steps``); what it returns or raises."""
        return self._run(flow(self._session))

    def _run(self, flow: flows.Flow[flows.T]) -> flows.T:
        return self._transport.run(flow)


def _ignore(event: JobEvent) -> None:
    """Nobody asked for the events."""
