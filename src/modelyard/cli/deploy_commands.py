"""``modelyard deploy``, ``analyze``, ``jobs``: from files to an endpoint, and the runs that do it."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from modelyard.cli.common import AsJson, InProject, SigningKey, signer_of

Device = Literal["auto", "cpu", "cuda"]
Source = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="A model's file, the folder of its files, hf://OWNER/NAME[@REVISION] of the hub, the address of a file or "
        "an archive (https://…), of a git repository (https://….git[@REVISION]), or what is in a bucket (s3://, gs:// or az://BUCKET/PREFIX).",
    ),
]
Deployable = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="A model's file, the folder of its files, hf://OWNER/NAME[@REVISION] of the hub, the address of a file or "
        "an archive (https://…), of a git repository (https://….git[@REVISION]), or what is in a bucket (s3://, gs:// or az://BUCKET/PREFIX); or a version that is registered: "
        "NAME/3, NAME@production, NAME (its latest).",
    ),
]
Digest = Annotated[
    str | None,
    typer.Option(metavar="HEX", help="The checksum that the file at an address must have."),
]


def deploy(
    model: Deployable,
    name: Annotated[
        str | None, typer.Option(help="The endpoint's name (default: the file's name).")
    ] = None,
    trust_pickle: Annotated[
        bool, typer.Option("--trust-pickle", help="Allow a model whose loading runs code (pickle, joblib).")
    ] = False,
    because: Annotated[
        str, typer.Option(metavar="WHY", help="Why it is trusted; kept with the version and in the audit.")
    ] = "",
    python: Annotated[
        str | None,
        typer.Option(metavar="VERSIONS", help="The Python it needs: '>=3.9,<3.11', or 3.10 (this one)."),
    ] = None,
    replicas: Annotated[int | None, typer.Option(min=1, help="How many copies run (1).")] = None,
    min_replicas: Annotated[
        int | None,
        typer.Option(min=0, help="1: always in memory; 0: it sleeps when others need the room (0)."),
    ] = None,
    idle_timeout: Annotated[
        float | None,
        typer.Option(min=0, help="Seconds without a call after which it sleeps; 0: not for that (0)."),
    ] = None,
    memory: Annotated[str | None, typer.Option(help="Memory limit of a copy, such as 512MiB.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads that a copy computes with.")] = None,
    device: Annotated[
        Device | None, typer.Option(help="Where it computes; auto takes accelerators (auto).")
    ] = None,
    max_batch: Annotated[int | None, typer.Option(min=1, help="Most rows computed at once (1024).")] = None,
    max_cost: Annotated[
        int | None,
        typer.Option(min=1, help="Most padded cost of a batch, in the model's unit: tokens, residues."),
    ] = None,
    max_wait: Annotated[
        float | None,
        typer.Option(min=0, help="Seconds that a call may wait for mates though a copy is idle (0)."),
    ] = None,
    latency_target: Annotated[
        float | None, typer.Option(min=0.0001, help="Seconds that a batch should compute at most.")
    ] = None,
    max_queue: Annotated[
        int | None, typer.Option(min=1, help="Most calls that wait; more are refused (1024).")
    ] = None,
    timeout: Annotated[
        float | None, typer.Option(min=0.001, help="Seconds that a call may take (30).")
    ] = None,
    job_timeout: Annotated[
        float | None,
        typer.Option(min=0.001, help="Seconds that a job (predict --detach) may take (21600)."),
    ] = None,
    cache: Annotated[
        str | None, typer.Option(help="Memory for answers, such as 64MiB; 0 switches it off (0).")
    ] = None,
    cache_ttl: Annotated[
        float | None, typer.Option(min=0.001, help="Seconds that an answer is kept (300).")
    ] = None,
    fallback: Annotated[
        str | None, typer.Option(metavar="NAME", help="The endpoint that answers when this one cannot.")
    ] = None,
    network: Annotated[
        bool | None,
        typer.Option(
            "--network/--no-network", help="Let the model use the network (as its model.yaml says: no)."
        ),
    ] = None,
    folder: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="PATH[:rw]", help="A folder that it may read, with :rw write; may be repeated."
        ),
    ] = None,
    reset: Annotated[
        bool, typer.Option("--reset", help="Begin from the defaults, not from the options it has.")
    ] = False,
    sha256: Digest = None,
    sign: SigningKey = None,
    detach: Annotated[bool, typer.Option("--detach", help="Do not wait until it serves.")] = False,
    project: InProject = None,
    as_json: AsJson = False,
) -> None:
    """Deploy a model and wait until its endpoint serves.

    Uploads what the platform has not got, prepares the environment, starts the replicas, and moves the
    endpoint's traffic when they have answered a real prediction. Starts the platform when none runs.

    An option that is not given stays as the endpoint has it (the first time: its default, in brackets);
    see them with `modelyard endpoints NAME`.
    """
    from modelyard.cli.deploy import run
    from modelyard.cli.sources import place_of, registered
    from modelyard.client.options import settings_of
    from modelyard.core.errors import InvalidInput
    from modelyard.core.reference import parse_reference
    from modelyard.core.units import parse_bytes

    if because and not trust_pickle:
        raise typer.BadParameter(
            "It says why a model is trusted; give --trust-pickle, too.", param_hint="--because"
        )
    try:
        memory_bytes = parse_bytes(memory, field="--memory") if memory is not None else None
        cache_bytes = parse_bytes(cache, field="--cache") if cache is not None else None
        settings = settings_of(
            {
                "python": python,
                "replicas": replicas,
                "min_replicas": min_replicas,
                "idle_timeout": idle_timeout,
                "memory": memory_bytes,
                "threads": threads,
                "device": device,
                "max_batch": max_batch,
                "max_cost": max_cost,
                "max_wait": max_wait,
                "latency_target": latency_target,
                "max_queue": max_queue,
                "timeout": timeout,
                "job_timeout": job_timeout,
                "cache": cache_bytes,
                "cache_ttl": cache_ttl,
                "fallback": fallback,
                "network": network,
                "folders": [str(each.absolute()) for each in folder] if folder else None,
            }
        )
    except InvalidInput as error:
        raise typer.BadParameter(error.message, param_hint=error.field) from error
    version = registered(model) if sha256 is None else None
    if version is not None and trust_pickle:
        raise typer.BadParameter(
            f"{model} is registered; whether it is trusted was said when its files came.",
            param_hint="--trust-pickle",
        )
    if version is not None and sign is not None:
        raise typer.BadParameter(
            f"{model} is registered; sign it: modelyard models sign {model} --key {sign}",
            param_hint="--sign",
        )
    signs = signer_of(sign)  # a key that is none is told before anything is fetched
    found = place_of(model, sha256, trusted=trust_pickle, or_name=True) if version is None else None
    run(
        found.path if found is not None else parse_reference(model),
        name,
        source=None if found is None else found.source,
        card=None if found is None else found.card,
        trust_pickle=trust_pickle,
        because=because,
        sign=signs,
        settings=settings,
        reset=reset,
        detach=detach,
        as_json=as_json,
    )
    if found is not None:
        found.forget()


def analyze(model: Source, sha256: Digest = None, as_json: AsJson = False) -> None:
    """Say what a model is, without running anything of it.

    Format, signature, size, parameters, precision, memory, operations, dependencies, licence, GPU. Needs no platform.
    """
    from modelyard.cli.analyze import run
    from modelyard.cli.sources import place_of

    run(place_of(model, sha256).path, as_json=as_json)


def jobs(
    job: Annotated[
        str | None, typer.Argument(metavar="[JOB]", help="Show this job's story, and follow it.")
    ] = None,
    cancel: Annotated[bool, typer.Option("--cancel", help="Cancel the job.")] = False,
    state: Annotated[
        str | None, typer.Option(help="Only jobs that are queued, running, done, failed or cancelled.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many to list.")] = 20,
    save: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Of a prediction: write each output into a file there."),
    ] = None,
    project: InProject = None,
    as_json: AsJson = False,
) -> None:
    """List the latest jobs, or follow one to its end: of a prediction, to its answer."""
    from modelyard.cli import jobs as room

    if cancel and job is None:
        raise typer.BadParameter("Say which job: modelyard jobs JOB --cancel.", param_hint="--cancel")
    if state is not None and state not in ("queued", "running", "done", "failed", "cancelled"):
        raise typer.BadParameter(f"{state!r} is no state of a job.", param_hint="--state")
    if save is not None and (job is None or cancel):
        raise typer.BadParameter(
            "Say which job's answer: modelyard jobs JOB --save FOLDER.", param_hint="--save"
        )
    if job is not None and job.startswith("p"):
        from modelyard.cli import predictions

        if cancel:
            predictions.cancel(job, as_json=as_json)
        else:
            predictions.follow(job, save, as_json=as_json)
    elif save is not None:
        raise typer.BadParameter("Only the answer of a prediction can be saved.", param_hint="--save")
    elif job is None:
        room.list_jobs(state, limit, as_json=as_json)
    elif cancel:
        room.cancel(job, as_json=as_json)
    else:
        room.follow(job, as_json=as_json)


def add_to(app: typer.Typer) -> None:
    for command in (deploy, analyze, jobs):
        app.command()(command)
