"""The HTTP surface of the control plane; the pages of ``web`` are mounted on the same app."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio.to_thread
from fastapi import FastAPI

from modelyard.control import errors, openapi
from modelyard.control.api import (
    aliases,
    cards,
    deployments,
    endpoints,
    environments,
    files,
    jobs,
    lineage,
    models,
    proof,
    remotes,
    store,
    system,
    uploads,
    versions,
)
from modelyard.control.edge import Edge
from modelyard.control.platform import Platform
from modelyard.control.server import check
from modelyard.core.settings import Settings
from modelyard.core.version import VERSION

_THREADS = 16  # each keeps an arena of memory; a request needs one for milliseconds


def create_app(settings: Settings) -> FastAPI:
    """The app of one home; its loops run while the app does (its lifespan).

    ``app.state.platform`` is what pages need; ``app.state.public`` the paths (or prefixes ending in
    ``/``) that need no key, ``app.state.login`` a list with at most the path that a browser without a
    key is sent to. Raises InvalidInput for an address that would be open without authentication.
    """
    check(settings)
    platform = Platform(settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        anyio.to_thread.current_default_thread_limiter().total_tokens = _THREADS
        platform.start()
        try:
            yield
        finally:
            await anyio.to_thread.run_sync(platform.stop)

    app = FastAPI(
        title="Modelyard",
        version=VERSION,
        description="Models, versions, endpoints, deployments and jobs of one Modelyard.",
        lifespan=lifespan,
        docs_url=None,  # the bundled viewers load their code from elsewhere
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.platform = platform
    app.state.public = set[str]()
    app.state.login = list[str]()
    app.add_middleware(
        Edge,
        key=platform.key,
        authentication=settings.authentication,
        hosts=[settings.control_host],
        max_body=settings.max_body,
        public=app.state.public,
        login=app.state.login,
    )
    for module in (
        uploads,
        models,
        versions,
        proof,
        aliases,
        cards,
        files,
        lineage,
        environments,
        deployments,
        endpoints,
        remotes,
        jobs,
        store,
        system,
    ):
        app.include_router(module.router)
    errors.install(app)
    openapi.install(app)
    return app
