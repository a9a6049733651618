"""The V2 protocol beside ``infer``: what the server is, its models, their configuration, their counts.

Sources: https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md
and the extensions statistics, model_configuration and model_repository in
https://github.com/triton-inference-server/server/tree/main/docs/protocol
"""

import time
from typing import TypeVar

import msgspec

from modelyard.core.errors import Conflict, InvalidInput, Unavailable
from modelyard.core.signature import Signature, TensorSpec
from modelyard.core.version import VERSION
from modelyard.serve.dataplane import Dataplane
from modelyard.serve.http import Request, Response, decode_error, json_response
from modelyard.serve.pool import report
from modelyard.serve.served import Served

EXTENSIONS = (
    "binary_tensor_data",
    "generate",
    "model_configuration",
    "model_repository",
    "parameters",
    "schedule_policy",
    "statistics",
)
Described = dict[str, object]


async def server_metadata() -> Response:
    """``GET /v2``."""
    return json_response({"name": "modelyard", "version": VERSION, "extensions": EXTENSIONS})


async def model_metadata(plane: Dataplane, name: str, version: str | None) -> Response:
    """``GET /v2/models/{name}``. The ``parameters`` of the signature stand beside what V2 asks for."""
    served = plane.resolve(name, version)
    signature = served.signature
    return json_response(
        {
            "name": name,
            "versions": [str(served.version)],
            "platform": served.platform,
            "inputs": [_described(signature, spec) for spec in signature.inputs],
            "outputs": [_described(signature, spec) for spec in signature.outputs],
            "parameters": {
                "model": served.model,
                "digest": served.digest,
                "options": signature.parameters,
                "signature": signature,
            },
        }
    )


def _described(signature: Signature, spec: TensorSpec) -> Described:
    return {"name": spec.name, "datatype": spec.datatype, "shape": signature.batch_shape(spec)}


async def model_ready(plane: Dataplane, name: str, version: str | None) -> Response:
    """``GET /v2/models/{name}/ready``. Raises Unavailable while it is not."""
    check_ready(plane.resolve(name, version))
    return json_response({"name": name, "ready": True})


def check_ready(served: Served) -> None:
    """Raise Unavailable unless ``served`` would compute a call made now."""
    if not served.ready:
        raise Unavailable(f"{served.endpoint!r} is not ready.", retry_after=1.0)


async def model_config(plane: Dataplane, name: str, version: str | None) -> Response:
    """``GET /v2/models/{name}/config``."""
    return json_response(config_of(plane, plane.resolve(name, version)))


def config_of(plane: Dataplane, served: Served) -> Described:
    """Triton's ModelConfig, as far as it has words for what we do.

    ``dims`` are without the batch axis where ``max_batch_size`` is above 0.
    """
    signature = served.signature
    largest = 0
    if signature.batched:
        largest = min(served.serving.max_batch, signature.max_batch or served.serving.max_batch)
    config: Described = {
        "name": served.endpoint,
        "platform": served.platform,
        "backend": "modelyard",
        "version_policy": {"specific": {"versions": [served.version]}},
        "max_batch_size": largest,
        "input": [_configured(spec) | {"optional": spec.optional} for spec in signature.inputs],
        "output": [_configured(spec) for spec in signature.outputs],
        "instance_group": [
            {
                "name": pool.spec.deployment,
                "kind": {"cpu": "KIND_CPU", "cuda": "KIND_GPU"}.get(
                    pool.spec.resources.device, "KIND_AUTO"
                ),
                "count": pool.spec.replicas,
            }
            for pool in plane.pools.values()
            if pool.spec.endpoint == served.endpoint and pool.spec.version == served.version
        ],
        "model_transaction_policy": {"decoupled": False},
    }
    if largest:
        config["dynamic_batching"] = {
            "preferred_batch_size": [],
            "max_queue_delay_microseconds": round(served.serving.max_wait * 1e6),
            "default_queue_policy": {
                "max_queue_size": served.serving.max_queue,
                "default_timeout_microseconds": round(served.serving.timeout * 1e6),
                "allow_timeout_override": True,
            },
        }
    return config


def _configured(spec: TensorSpec) -> Described:
    name = "STRING" if spec.datatype == "BYTES" else spec.datatype
    return {"name": spec.name, "data_type": f"TYPE_{name}", "dims": spec.shape}


# --- statistics


async def stats(plane: Dataplane, name: str | None, version: str | None) -> Response:
    """``GET /v2/models[/{name}[/versions/{version}]]/stats``."""
    names = plane.endpoints() if name is None else [name]
    return json_response({"model_stats": [stats_of(plane.resolve(each, version)) for each in names]})


def stats_of(served: Served) -> Described:
    """What the version of an endpoint did since the node started, as Triton counts it.

    ``inference_count`` are the rows that were computed and answered well, ``execution_count`` the batches in
    which there were such; ``batch_stats`` has them by their rows (above 1024 by the next power of two), with
    the time that executors computed. What remotes compute is in the first alone. ``inference_stats`` count
    calls, whatever their rows: ``compute_infer`` is what of their time was not waiting, the way to the
    executor and back in it, so ``compute_input`` and ``compute_output`` are not told apart (0). The cache is
    counted over all versions, and its time is not measured (0). Times are nanoseconds.
    """
    metrics = served.metrics
    success = sum(count for (_, code), count in metrics.codes.items() if code == "ok")
    fail = sum(metrics.codes.values()) - success
    succeeded = max(0.0, metrics.latency.total - metrics.failed)
    kept = metrics.cache.hits + metrics.cache.stale + metrics.cache.coalesced
    since = metrics.last_call()
    nothing = {"count": 0, "ns": 0}
    return {
        "name": served.endpoint,
        "version": str(served.version),
        "last_inference": 0 if since is None else round((time.time() - since) * 1000),
        "inference_count": metrics.inferred,
        "execution_count": sum(count for count, _ in metrics.sizes.values()),
        "inference_stats": {
            "success": _duration(success, succeeded),
            "fail": _duration(fail, metrics.failed),
            "queue": _duration(sum(metrics.queue.counts), metrics.queue.total),
            "compute_input": nothing,
            "compute_infer": _duration(max(0, success - kept), max(0.0, succeeded - metrics.queue.total)),
            "compute_output": nothing,
            "cache_hit": _duration(kept, 0.0),
            "cache_miss": _duration(metrics.cache.misses, 0.0),
        },
        "batch_stats": [
            {
                "batch_size": rows,
                "compute_input": nothing,
                "compute_infer": _duration(count, seconds),
                "compute_output": nothing,
            }
            for rows, (count, seconds) in sorted(metrics.sizes.items())
        ],
    }


def _duration(count: int, seconds: float) -> Described:
    return {"count": count, "ns": round(seconds * 1e9)}


# --- the repository: what there is, deployments decide; whether it is in memory, also these calls


class IndexRequest(msgspec.Struct, forbid_unknown_fields=True):
    """The body of ``index``."""

    ready: bool = False


class LoadRequest(msgspec.Struct, forbid_unknown_fields=True):
    """The body of ``load`` and ``unload``."""

    parameters: dict[str, object] = {}


Wanted = TypeVar("Wanted", IndexRequest, LoadRequest)

# Asleep is ready: a call would be answered. The reason says what it is.
_STATES = {
    "ready": "READY",
    "asleep": "READY",
    "waking": "LOADING",
    "starting": "LOADING",
    "failing": "UNAVAILABLE",
    "draining": "UNLOADING",
}
LOAD_LIMIT = 600.0  # seconds that a load is waited for


async def index(plane: Dataplane, request: Request) -> Response:
    """``POST /v2/repository/index``."""
    wanted = _body(request, IndexRequest)
    models = index_of(plane)
    return json_response([each for each in models if each["state"] == "READY" or not wanted.ready])


def index_of(plane: Dataplane) -> list[Described]:
    """Every deployment that this node has, serving or on its way, with its state."""
    models: list[Described] = []
    for pool in plane.pools.values():
        status = report.status(pool)
        models.append(
            {
                "name": status.endpoint,
                "version": str(pool.spec.version),
                "state": _STATES[status.state],
                "reason": "asleep; a call or a load wakes it"
                if status.state == "asleep"
                else (status.failure or "").partition("\n")[0],
            }
        )
    known = {model["name"] for model in models}
    for name in plane.endpoints():
        if name not in known:  # served by a node elsewhere
            served = plane.resolve(name)
            state = "READY" if served.ready else "UNAVAILABLE"
            models.append({"name": name, "version": str(served.version), "state": state, "reason": ""})
    return models


async def load(plane: Dataplane, request: Request, name: str) -> Response:
    """``POST /v2/repository/models/{name}/load``: in memory, when this answers.

    Raises NotFound for what was never deployed, Unavailable for what cannot be loaded, InvalidInput for
    a configuration to load it with.
    """
    wanted = _body(request, LoadRequest)
    if wanted.parameters:
        raise InvalidInput(
            "A model is configured where it is deployed (modelyard deploy --help), not when it is loaded.",
            field="parameters",
        )
    await wake(plane, name)
    return json_response({})


async def unload(plane: Dataplane, request: Request, name: str) -> Response:
    """``POST /v2/repository/models/{name}/unload``: not in memory, when this answers; a call wakes it."""
    _body(request, LoadRequest)
    await put_to_sleep(plane, name)
    return json_response({})


async def wake(plane: Dataplane, name: str) -> None:
    """Have the model of an endpoint in memory. Raises NotFound, and Unavailable when it cannot be loaded."""
    served = plane.resolve(name)
    plane.may_manage()
    if served.pool is not None:
        await served.pool.residence.wake(LOAD_LIMIT)
    check_ready(served)


async def put_to_sleep(plane: Dataplane, name: str) -> None:
    """Take the model of an endpoint out of memory. Raises NotFound, and Conflict where that may not be: it
    is kept, it computes, it never served, or it is elsewhere."""
    served = plane.resolve(name)
    plane.may_manage()
    if served.pool is None:
        raise Conflict(
            f"{name!r} is served by remotes alone; there is nothing of it in memory.", field="model"
        )
    await served.pool.residence.sleep()


def _body(request: Request, kind: type[Wanted]) -> Wanted:
    body = request.json_body()
    if not body:
        return kind()
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise decode_error(error, body) from None
