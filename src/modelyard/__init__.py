"""Modelyard: from a trained model to a measured, isolated, observed endpoint.

The rooms, bottom to top, and what each may import, are drawn in
``docs/architecture/01-overview.md`` and enforced by the import contract in ``pyproject.toml``.
"""

from typing import TYPE_CHECKING

from modelyard.core.version import VERSION

if TYPE_CHECKING:
    from modelyard.client import AsyncClient as AsyncClient
    from modelyard.client import Client as Client
    from modelyard.client.pulling import pull as pull
    from modelyard.objects.pushing import Pushed as Pushed
    from modelyard.objects.pushing import push as push
    from modelyard.objects.pushing import push_async as push_async
    from modelyard.registry.signing import signer as signer

__version__ = VERSION


_HOMES = {
    "Client": "modelyard.client",
    "AsyncClient": "modelyard.client",
    "pull": "modelyard.client.pulling",
    "push": "modelyard.objects.pushing",
    "push_async": "modelyard.objects.pushing",
    "Pushed": "modelyard.objects.pushing",
    "signer": "modelyard.registry.signing",
}


def __getattr__(name: str) -> object:
    """Import on first use, so that ``import modelyard`` and ``modelyard --help`` do not pay for it."""
    if name in _HOMES:
        import importlib

        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'modelyard' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
