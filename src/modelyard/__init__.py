"""Modelyard: from a trained model to a measured, isolated, observed endpoint.

The rooms, bottom to top, and what each may import, are drawn in
``docs/architecture/01-overview.md`` and enforced by the import contract in ``pyproject.toml``.
"""

from typing import TYPE_CHECKING

from modelyard.core.version import VERSION

if TYPE_CHECKING:
    from modelyard.client import AsyncClient as AsyncClient
    from modelyard.client import Client as Client

__version__ = VERSION


def __getattr__(name: str) -> object:
    """Load the client on first use, so that ``modelyard --help`` does not pay for it."""
    if name in ("Client", "AsyncClient"):
        import modelyard.client

        return getattr(modelyard.client, name)
    raise AttributeError(f"module 'modelyard' has no attribute {name!r}")
