"""The calls of GRPCInferenceService beside inference: what is here, what it takes, how it has done."""

from collections.abc import Callable
from typing import Final

from modelyard.core.errors import Conflict, ModelyardError, NotFound, Unavailable
from modelyard.core.signature import Signature, TensorSpec
from modelyard.core.version import VERSION
from modelyard.serve.dataplane import Dataplane
from modelyard.serve.served import Served

Values = dict[str, object]
EXTENSIONS: Final = ("model_configuration", "model_repository", "statistics")
_TYPES: Final = {
    "BOOL": 1, "UINT8": 2, "UINT16": 3, "UINT32": 4, "UINT64": 5, "INT8": 6, "INT16": 7, "INT32": 8,
    "INT64": 9, "FP16": 10, "FP32": 11, "FP64": 12, "BYTES": 13, "BF16": 14,
}  # fmt: skip
_NS: Final = 1e9


def _text(values: Values, name: str) -> str:
    return str(values.get(name, ""))


def _served(plane: Dataplane, values: Values) -> Served:
    return plane.resolve(_text(values, "name"), _text(values, "version") or None)


def _live(plane: Dataplane, values: Values) -> Values:
    return {"live": True}


def is_ready(plane: Dataplane) -> bool:
    """Every endpoint of the table would compute a call made now."""
    return all(plane.resolve(name).ready for name in plane.endpoints())


def _ready(plane: Dataplane, values: Values) -> Values:
    return {"ready": is_ready(plane)}


def _model_ready(plane: Dataplane, values: Values) -> Values:
    """False also for what is not there: clients ask until it is, and Triton answers so."""
    try:
        return {"ready": _served(plane, values).ready}
    except (NotFound, Unavailable):
        return {"ready": False}


def _server_metadata(plane: Dataplane, values: Values) -> Values:
    return {"name": "modelyard", "version": VERSION, "extensions": EXTENSIONS}


def _model_metadata(plane: Dataplane, values: Values) -> Values:
    served = _served(plane, values)
    signature = served.signature
    return {
        "name": served.endpoint,
        "versions": [str(served.version)],
        "platform": served.platform,
        "inputs": [_described(signature, spec) for spec in signature.inputs],
        "outputs": [_described(signature, spec) for spec in signature.outputs],
    }


def _described(signature: Signature, spec: TensorSpec) -> Values:
    return {"name": spec.name, "datatype": spec.datatype, "shape": signature.batch_shape(spec)}


def _model_config(plane: Dataplane, values: Values) -> Values:
    """As Triton's: a max_batch_size of 0 says that shapes are told whole, else the batch axis is left out."""
    served = _served(plane, values)
    signature = served.signature
    most = (signature.max_batch or served.serving.max_batch) if signature.batched else 0
    return {
        "config": {
            "name": served.endpoint,
            "platform": served.platform,
            "max_batch_size": most,
            "input": [
                {
                    "name": spec.name,
                    "data_type": _TYPES[spec.datatype],
                    "dims": list(spec.shape),
                    "optional": spec.optional,
                }
                for spec in signature.inputs
            ],
            "output": [
                {"name": spec.name, "data_type": _TYPES[spec.datatype], "dims": list(spec.shape)}
                for spec in signature.outputs
            ],
            "backend": "modelyard",
            "model_transaction_policy": {"decoupled": False},
        }
    }


def _statistics(plane: Dataplane, values: Values) -> Values:
    name = _text(values, "name")
    served = [_served(plane, values)] if name else [plane.resolve(each) for each in plane.endpoints()]
    return {"model_stats": [statistics_of(one) for one in served]}


def statistics_of(served: Served) -> Values:
    """Counts since the node started, over all versions of the endpoint; durations in nanoseconds.

    The time of a call is known as a whole and in the queue: what is not the queue's is ``compute_infer``.
    Calls that failed are in ``fail`` by number; their time cannot be told from that of the others.
    """
    metrics = served.metrics
    answered = sum(count for (_, code), count in metrics.codes.items() if code == "ok")
    failed = sum(metrics.codes.values()) - answered
    queued = int(metrics.queue.total * _NS)
    total = int(metrics.latency.total * _NS)
    executions = sum(metrics.batch.counts)
    return {
        "name": served.endpoint,
        "version": str(served.version),
        "inference_count": answered,
        "execution_count": executions,
        "inference_stats": {
            "success": {"count": answered, "ns": total},
            "fail": {"count": failed},
            "queue": {"count": answered, "ns": queued},
            "compute_input": {"count": answered},
            "compute_infer": {"count": answered, "ns": max(0, total - queued)},
            "compute_output": {"count": answered},
        },
    }


def _index(plane: Dataplane, values: Values) -> Values:
    models: list[Values] = []
    for name in plane.endpoints():
        served = plane.resolve(name)
        ready = served.ready
        if ready or not values.get("ready"):
            models.append(
                {
                    "name": name,
                    "version": str(served.version),
                    "state": "READY" if ready else "UNAVAILABLE",
                    "reason": "" if ready else "no replica is ready",
                }
            )
    return {"models": models}


def _load(plane: Dataplane, values: Values) -> Values:
    name = _text(values, "model_name")
    if values.get("parameters"):
        raise Conflict(
            "A deployment's settings are the control plane's; change them with: modelyard deploy",
            field="parameters",
        )
    if not plane.resolve(name).ready:
        raise Unavailable(f"{name!r} is starting; its first replica is not ready.", retry_after=1.0)
    return {}


def _unload(plane: Dataplane, values: Values) -> Values:
    name = _text(values, "model_name")
    plane.resolve(name)
    raise Conflict(
        f"What is deployed is the control plane's to decide; to take {name!r} away: modelyard delete {name}",
        field="model_name",
    )


Handler = Callable[[Dataplane, Values], Values]
METHODS: Final[dict[str, Handler]] = {
    "ServerLive": _live,
    "ServerReady": _ready,
    "ModelReady": _model_ready,
    "ServerMetadata": _server_metadata,
    "ModelMetadata": _model_metadata,
    "ModelConfig": _model_config,
    "ModelStatistics": _statistics,
    "RepositoryIndex": _index,
    "RepositoryModelLoad": _load,
    "RepositoryModelUnload": _unload,
}

SERVING, NOT_SERVING, SERVICE_UNKNOWN = 1, 2, 3


def health_of(plane: Dataplane, service: str, services: frozenset[str]) -> int:
    """grpc.health.v1's status of ``service``: the node ("" or a service of ours), or one endpoint."""
    if not service or service in services:
        return SERVING if is_ready(plane) else NOT_SERVING
    try:
        return SERVING if plane.resolve(service).ready else NOT_SERVING
    except NotFound:
        return SERVICE_UNKNOWN
    except ModelyardError:
        return NOT_SERVING
