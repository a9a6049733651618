"""``modelyard deploy``: the platform up, the files there, the job followed, the endpoint shown."""

import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modelyard.cli.common import client as platform_client
from modelyard.cli.output import print_json, say
from modelyard.client import example
from modelyard.client.answers import EndpointInfo
from modelyard.client.deploy_flow import Signer, name_of, raise_failure
from modelyard.client.location import find_home
from modelyard.client.progress import StageProgress
from modelyard.client.synchronous import Client
from modelyard.core.card import Card
from modelyard.core.errors import NotFound
from modelyard.core.names import check_name
from modelyard.core.provenance import Source
from modelyard.core.reference import Reference
from modelyard.core.units import format_seconds


def run(
    what: Path | Reference,
    name: str | None,
    *,
    trust_pickle: bool,
    settings: Mapping[str, Any],
    reset: bool,
    detach: bool,
    as_json: bool,
    at_first: Mapping[str, Any] | None = None,
    source: Source | None = None,
    because: str = "",
    sign: Signer | None = None,
    told: Mapping[str, Any] | None = None,
    card: Card | None = None,
) -> None:
    """Deploy files, or a version that is registered. Raises the deployment's error; exits 130 when interrupted, with a
    word on how to go on.

    ``at_first`` are settings in place of the defaults: an endpoint that is there keeps what it has.
    ``source`` is where the files came from (None: their path). ``card`` fills what the model's card does not say
    yet. ``told`` is what was to be said before it, and stands in the same JSON document.
    """
    begin = time.monotonic()
    if isinstance(what, Path):
        endpoint = name_of(what, name)
    else:
        endpoint = what.model if name is None else check_name(name)
    _ensure_up(quiet=as_json)
    with platform_client() as client:
        if at_first and (reset or _is_new(client, endpoint)):
            settings = merged(at_first, settings)
        with StageProgress(quiet=as_json) as progress:
            try:
                if isinstance(what, Path):
                    job = client.begin_deploy(
                        what,
                        endpoint,
                        trust_pickle=trust_pickle,
                        because=because,
                        settings=settings,
                        reset=reset,
                        card=card,
                        source=source,
                        sign=sign,
                        on_event=progress.show,
                    )
                else:
                    job = client.begin_deploy_version(str(what), endpoint, settings=settings, reset=reset)
            except KeyboardInterrupt:
                progress.__exit__(None, None, None)
                say("\nInterrupted. What was sent is kept: deploy again, and only the rest will be.")
                sys.exit(130)
            if not detach:
                try:
                    job = client.follow(job.id, progress.show)
                except KeyboardInterrupt:
                    progress.__exit__(None, None, None)
                    say(f"\nDetached; the deployment goes on. Follow it with: modelyard jobs {job.id}")
                    sys.exit(130)
        if detach:
            if as_json:
                print_json({**(told or {}), "job": job.id, "endpoint": endpoint, "state": job.state})
            else:
                print(f"Deploying {endpoint} as job {job.id}. Follow it with: modelyard jobs {job.id}")
            return
        raise_failure(job)
        show_endpoint(client, endpoint, job.id, time.monotonic() - begin, as_json=as_json, told=told)


def show_endpoint(
    client: Client,
    endpoint: str,
    job: str | None,
    seconds: float,
    *,
    as_json: bool,
    told: Mapping[str, Any] | None = None,
) -> None:
    """The endpoint's URL and a curl line that works."""
    info = client.endpoint(endpoint)
    record = example_of(client, info)
    locked = client.status().authentication
    line = example.curl_line(info.predict_url, record, key=locked) if record is not None else None
    if as_json:
        print_json(
            {
                **(told or {}),
                "job": job,
                "endpoint": info.name,
                "url": info.predict_url,
                "model": info.current.model,
                "version": info.current.version,
                "state": info.state,
                "example": record,
                "curl": line,
                "seconds": round(seconds, 3),
            }
        )
        return
    version = f"{info.current.model} version {info.current.version}"
    if info.deprecated is not None:
        version += f" (deprecated: {info.deprecated.why})"
    print(f"\n{info.name} is serving {version}, after {format_seconds(seconds)}.")
    print(f"  {info.predict_url}\n")
    if info.confinement is not None and (lacks := info.confinement.lacks):
        print(f"note: nothing keeps its code from {' and '.join(lacks)} here; see `modelyard doctor`.\n")
    if line is None:
        return
    if "@record.json" in line:
        print("Try it:")
        print(f"  modelyard predict {info.name} --example > record.json")
        print(f"  {line}")
    else:
        print(f"Try it:\n  {line}")


def merged(defaults: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Settings that are given, over ``defaults`` of the same form."""
    together = dict(given)
    for name, value in defaults.items():
        if isinstance(value, Mapping):
            together[name] = {**value, **given.get(name, {})}
        else:
            together.setdefault(name, value)
    return together


def _is_new(client: Client, endpoint: str) -> bool:
    """Whether nothing was deployed there before."""
    try:
        client.endpoint(endpoint)
    except NotFound:
        return True
    return False


def example_of(client: Client, info: EndpointInfo) -> dict[str, Any] | None:
    """A record that the model can answer: its own example, else zeros by its signature."""
    try:
        known = client.version(info.current.model, info.current.version).analysis.example
    except NotFound:
        known = None
    if known is not None:
        return known
    return example.example_record(info.signature) if info.signature is not None else None


def _ensure_up(*, quiet: bool) -> None:
    """Start the platform of this machine unless it is up, or another one is meant."""
    if os.environ.get("MODELYARD_URL"):
        return
    from modelyard.cli.programs import MODULES, SUPERVISOR
    from modelyard.host.lock import holder

    home = find_home()
    if all(holder(home.run, program) is not None for program in (SUPERVISOR, *MODULES)) and all(
        home.address(program).exists() for program in MODULES
    ):
        return
    from modelyard.cli.start import Flags, bring_up
    from modelyard.cli.ticker import Ticker

    if not quiet:
        say("No platform is running here; starting it.")
    with Ticker(quiet=quiet) as ticker:
        addresses = bring_up(Flags(), ticker.show)
    if not quiet:
        say(f"The platform is up: {addresses.control}")
