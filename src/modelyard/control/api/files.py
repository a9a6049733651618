"""``/models/{name}/versions/{version}/files``: the bytes of a version's files, on their way out."""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from modelyard.control.api.common import PREFIX, Here, NamePath, WhichPath
from modelyard.control.openapi import failures

router = APIRouter(prefix=PREFIX, tags=["versions"])

_PIECE = 8 * 1024 * 1024  # bytes of one answer at most
_BYTES = {
    "200": {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}
}


@router.get(
    "/models/{name}/versions/{version}/files/{path:path}",
    responses={**failures("not_found"), **_BYTES},  # pyright: ignore[reportArgumentType]
    response_model=None,
    response_class=Response,
)
def read_file(
    here: Here,
    name: NamePath,
    version: WhichPath,
    path: str,
    offset: Annotated[int, Query(ge=0, le=2**50, description="the first byte")] = 0,
    length: Annotated[int, Query(ge=1, le=_PIECE, description="how many; fewer at the end")] = _PIECE,
) -> Response:
    """A part of one of a version's files; the version tells their paths, sizes and SHA-256."""
    found = here.versions.find(name, version)
    data = here.blobs.files(found.manifest).read(path, offset, length)
    return Response(data, media_type="application/octet-stream")
