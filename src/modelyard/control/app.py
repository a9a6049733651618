"""The HTTP surface of the control plane; the pages of ``web`` are mounted on the same app."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio.to_thread
from fastapi import FastAPI, Request, Response

from modelyard.control import errors, openapi
from modelyard.control.access import Table
from modelyard.control.api import (
    aliases,
    cards,
    deployments,
    endpoints,
    environments,
    files,
    jobs,
    keys,
    lineage,
    models,
    projects,
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
from modelyard.core.errors import Internal, ModelyardError
from modelyard.core.settings import Settings
from modelyard.core.version import VERSION

_THREADS = 16  # each keeps an arena of memory; a request needs one for milliseconds


def create_app(settings: Settings) -> FastAPI:
    """The app of one home; its loops run while the app does (its lifespan).

    ``app.state.platform`` is what pages need; ``app.state.public`` the paths (or prefixes ending in
    ``/``) that need no key, ``app.state.login`` a list with at most the path that a browser without a
    key is sent to, ``app.state.problem`` one with at most what makes the page that tells a browser of a refusal,
    ``app.state.access`` the table of who may what: a route without a row in it keeps the app from
    starting. Raises InvalidInput for an address that would be open without authentication.
    """
    check(settings)
    platform = Platform(settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        if forgotten := app.state.access.without_row(app):
            raise Internal(f"Who may use {', '.join(forgotten)}? Write a row for it in control/access.py.")
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
    app.state.problem = list[Callable[[Request, ModelyardError], Response]]()
    app.state.access = Table()
    app.add_middleware(
        Edge,
        admission=platform.admission,
        table=app.state.access,
        authentication=settings.authentication,
        hosts=[settings.control_host],
        max_body=settings.max_body,
        public=app.state.public,
        login=app.state.login,
        problem=app.state.problem,
    )
    for module in (
        projects,
        keys,
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
