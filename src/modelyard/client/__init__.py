"""The Python client: deploy a model, predict with it, look after endpoints, from a program or a notebook.

    import modelyard
    client = modelyard.Client()                       # finds the platform of this machine by itself
    client.deploy("model.onnx", name="fraud")
    client.predict("fraud", features=numpy.zeros(30, "float32"))

``Client`` blocks, ``AsyncClient`` is awaited; both walk the same flows (``flows``), which say what to
ask the platform for and never touch a socket; ``transport`` and ``async_transport`` carry them out.
The client uses the nouns of ``core`` and nothing else of ours, so it can live in any program.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from modelyard.client.answers import EndpointInfo as EndpointInfo
    from modelyard.client.answers import ModelInfo as ModelInfo
    from modelyard.client.asynchronous import AsyncClient as AsyncClient
    from modelyard.client.synchronous import Client as Client

__all__ = ["AsyncClient", "Client", "EndpointInfo", "ModelInfo"]

_HOMES = {
    "Client": "modelyard.client.synchronous",
    "AsyncClient": "modelyard.client.asynchronous",
    "EndpointInfo": "modelyard.client.answers",
    "ModelInfo": "modelyard.client.answers",
}


def __getattr__(name: str) -> object:
    """Import on first use: the command line needs one of these, and httpx only for the async one."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)
