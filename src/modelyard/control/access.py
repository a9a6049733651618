"""Which role each address of the control plane asks for, and on what. All of it is here, as data.

``docs/access.md`` is written from it, the tests walk it, and an app with a route that has no row does not start.
"""

from collections.abc import Iterable, Iterator
from typing import Final, Literal, NamedTuple

from fastapi import APIRouter, FastAPI
from starlette.routing import BaseRoute, Mount

from modelyard.core.access import Role

Needed = Literal["public", "caller", "viewer", "operator", "admin", "installation"]
# What of the path says which project is meant. "new …" may also be a name that nothing has yet; "listed": what the
# answer has is of the caller's project alone; "body": what is asked for is in the body, and looked at there.
Of = Literal[
    "", "listed", "body", "model", "new model", "endpoint", "new endpoint", "job", "upload", "deployment",
    "environment", "key", "project",
]  # fmt: skip


class Row(NamedTuple):
    """One address. ``needed`` is the least role in the project of ``of``; *public* asks for no key, *installation* for
    an admin of all of it."""

    method: str
    path: str
    needed: Needed
    of: Of = ""

    @property
    def role(self) -> Role:
        """The role that is asked for; an installation's admin has every one."""
        return "admin" if self.needed in ("public", "installation") else self.needed  # pyright: ignore[reportReturnType]


def _rows(prefix: str, text: str) -> Iterator[Row]:
    for line in text.strip().splitlines():
        method, path, needed, *of = line.split(maxsplit=3)
        yield Row(method, prefix + path.rstrip("-"), needed, of[0] if of else "")  # pyright: ignore[reportArgumentType]


_API = """
GET    /health                                           public
GET    /ready                                            public
GET    /status                                           caller        listed
GET    /me                                               caller
GET    /audit                                            admin         listed
GET    /projects                                         caller        listed
POST   /projects                                         installation
GET    /projects/{name}                                  caller        project
DELETE /projects/{name}                                  installation
GET    /keys                                             admin         listed
POST   /keys                                             admin         body
GET    /keys/{key}                                       admin         key
POST   /keys/{key}/revoke                                admin         key
POST   /keys/{key}/rotate                                admin         key
GET    /models                                           viewer        listed
GET    /models/{name}                                    viewer        model
DELETE /models/{name}                                    admin         model
PUT    /models/{name}/project                            installation
POST   /models/{name}/versions                           operator      new model
GET    /models/{name}/card                               viewer        model
PATCH  /models/{name}/card                               operator      model
GET    /models/{name}/aliases                            viewer        model
PUT    /models/{name}/aliases/{alias}                    operator      model
DELETE /models/{name}/aliases/{alias}                    operator      model
GET    /models/{name}/history                            viewer        model
GET    /models/{name}/versions/{version}                 viewer        model
DELETE /models/{name}/versions/{number}                  admin         model
POST   /models/{name}/versions/{number}/restore          admin         model
GET    /models/{name}/versions/{version}/card            viewer        model
GET    /models/{name}/versions/{version}/compare         viewer        model
PUT    /models/{name}/versions/{version}/deprecation     operator      model
DELETE /models/{name}/versions/{version}/deprecation     operator      model
GET    /models/{name}/versions/{version}/files/{path:path} viewer      model
GET    /models/{name}/versions/{version}/lineage         viewer        model
PUT    /models/{name}/versions/{version}/parent          operator      model
DELETE /models/{name}/versions/{version}/parent          operator      model
GET    /models/{name}/versions/{version}/provenance      viewer        model
GET    /models/{name}/versions/{version}/signatures      viewer        model
POST   /models/{name}/versions/{version}/signatures      operator      model
GET    /models/{name}/versions/{version}/sbom            viewer        model
GET    /models/{name}/versions/{version}/scan            viewer        model
POST   /models/{name}/versions/{version}/scan            operator      model
GET    /versions                                         viewer        listed
POST   /uploads                                          operator      body
GET    /uploads/{id}                                     operator      upload
DELETE /uploads/{id}                                     operator      upload
PUT    /uploads/{id}/blobs/{sha256}                      operator      upload
POST   /uploads/{id}/blobs/{sha256}                      operator      upload
PUT    /uploads/{id}/blobs/{sha256}/parts/{number}       operator      upload
GET    /deployments                                      viewer        listed
POST   /deployments                                      operator      body
GET    /deployments/{id}                                 viewer        deployment
GET    /endpoints                                        caller        listed
GET    /endpoints/{name}                                 caller        endpoint
DELETE /endpoints/{name}                                 admin         endpoint
GET    /endpoints/{name}/logs                            viewer        endpoint
GET    /remotes                                          viewer        listed
GET    /remotes/{name}                                   viewer        endpoint
PUT    /remotes/{name}                                   operator      new endpoint
POST   /remotes/{name}                                   operator      new endpoint
PATCH  /remotes/{name}                                   operator      endpoint
DELETE /remotes/{name}                                   admin         endpoint
GET    /jobs                                             viewer        listed
GET    /jobs/{id}                                        viewer        job
POST   /jobs/{id}/cancel                                 operator      job
GET    /jobs/{id}/events                                 viewer        job
GET    /environments                                     viewer        listed
POST   /environments/clean                               installation
GET    /environments/{id}                                viewer        environment
GET    /environments/{id}/sbom                           viewer        environment
GET    /store                                            installation
POST   /store/verify                                     installation
POST   /store/collect                                    installation
"""
_PAGES = """
GET    /health                                           public
GET    /ready                                            public
GET    /openapi.json                                     caller
GET    /static                                           public
GET    /login                                            public
POST   /login                                            public
POST   /logout                                           caller
GET    /                                                 viewer        listed
GET    /fragment/endpoints                               viewer        listed
GET    /endpoints/{name}                                 viewer        endpoint
GET    /fragment/endpoints/{name}                        viewer        endpoint
POST   /endpoints/{name}                                 viewer        endpoint
GET    /models                                           viewer        listed
GET    /models/{name}                                    viewer        model
GET    /models/{name}/compare                            viewer        model
GET    /models/{name}/versions/{version}                 viewer        model
GET    /models/{name}/versions/{version}/files/{path:path} viewer      model
POST   /models/{name}/versions/{version}/aliases         operator      model
POST   /models/{name}/versions/{version}/deprecation     operator      model
POST   /models/{name}/versions/{version}/deploy          operator      model
POST   /models/{name}/versions/{version}/trust           admin         model
POST   /models/{name}/versions/{version}/delete          admin         model
POST   /models/{name}/versions/{version}/restore         admin         model
GET    /catalog                                          viewer
GET    /catalog/{name}                                   viewer
POST   /catalog/{name}                                   operator      body
GET    /jobs/{id}                                        viewer        job
POST   /jobs/{id}/cancel                                 operator      job
GET    /fragment/jobs/{id}                               viewer        job
GET    /upload                                           operator
"""
# What a node answers with a key, beside predictions and what its lists show. It goes by grants, not by this table.
NODE: Final = (
    Row("GET", "/metrics", "caller", "listed"),
    Row("GET", "/models", "caller", "listed"),
    Row("POST", "/models/{name}/predict", "caller", "endpoint"),
    Row("GET", "/v2/models/{name}", "caller", "endpoint"),
    Row("GET", "/v2/models/{name}/stats", "caller", "endpoint"),
    Row("GET", "/jobs/{id}", "caller", "job"),
    Row("POST", "/v2/repository/models/{name}/load", "operator", "endpoint"),
    Row("POST", "/v2/repository/models/{name}/unload", "operator", "endpoint"),
)
_REST: Final = ":path}"
TABLE: Final = (*_rows("/api/v1", _API), *_rows("", _PAGES))
# What a body may ask for that its address alone does not tell.
ALSO: Final = (
    ("trust_pickle in a version or a deployment", "admin of the project"),
    ("leave.folders in a deployment's settings", "admin of the installation"),
    ("key_variable, or a unix: address, in remotes", "admin of the installation"),
    ("a key without a project", "admin of the installation"),
)


class Table:
    """Rows, found by method and path. ``extra`` are those of routes that are not ours."""

    def __init__(self, rows: Iterable[Row] = TABLE) -> None:
        self.rows = list(rows)
        self._by_size: dict[int, list[tuple[list[str], Row]]] = {}
        self._open: list[tuple[list[str], Row]] = []  # whose last part is all that is left of a path
        for row in self.rows:
            self._keep(row)

    def add(self, row: Row) -> None:
        """One more."""
        self.rows.append(row)
        self._keep(row)

    def _keep(self, row: Row) -> None:
        parts = row.path.split("/")
        if parts[-1].endswith(_REST):
            self._open.append((parts, row))
        else:
            self._by_size.setdefault(len(parts), []).append((parts, row))

    def find(self, method: str, path: str) -> tuple[Row | None, dict[str, str], bool]:
        """The row, the named parts of the path, and whether there is one for this path and another method."""
        told, elsewhere = path.split("/"), False
        for parts, row in (*self._by_size.get(len(told), ()), *self._open):
            found: dict[str, str] = {}
            if len(told) < len(parts):
                continue
            for part, here in zip(parts, told, strict=False):
                if part[:1] == "{" and here:
                    found[part[1:-1]] = here
                elif part != here:
                    break
            else:
                if row.method == method:
                    return row, found, True
                elsewhere = True
        return None, {}, elsewhere

    def without_row(self, app: FastAPI) -> list[str]:
        """The routes of ``app`` that no row is of, as ``METHOD /path``."""
        known = {(row.method, row.path) for row in self.rows}
        return sorted(
            {f"{method} {path}" for method, path in addresses(app.routes) if (method, path) not in known}
        )


def addresses(routes: Iterable[BaseRoute]) -> Iterator[tuple[str, str]]:
    """Method and path of each route, also of those that were included. Raises TypeError for one that cannot be told."""
    for route in routes:
        included = getattr(route, "original_router", None)
        path, methods = getattr(route, "path", None), getattr(route, "methods", None)
        if isinstance(included, APIRouter):
            yield from addresses(included.routes)
        elif isinstance(route, Mount):
            yield "GET", route.path
        elif isinstance(path, str) and methods:
            yield from ((method, path) for method in methods if method != "HEAD")
        else:
            raise TypeError(f"{route!r} is no route whose address can be told")
