"""``/uploads``: files on their way in, whole or not at all."""

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from modelyard.control.answers import UploadAnswer
from modelyard.control.api.common import PREFIX, DigestPath, Here, IdPath
from modelyard.control.openapi import NounResponse, answers, failures
from modelyard.control.requests import UploadRequest
from modelyard.core.errors import InvalidInput, NotFound
from modelyard.registry import upload as uploading
from modelyard.store.uploads import Upload

router = APIRouter(prefix=PREFIX, tags=["uploads"])


@router.post(
    "/uploads",
    status_code=201,
    responses=answers(UploadAnswer, "unavailable", status=201),
    response_model=None,
)
def begin_upload(here: Here, request: UploadRequest) -> NounResponse:
    """Say which files will come; the answer says which bytes are missing, each to be sent once."""
    upload, missing = uploading.begin(here.uploads, here.blobs, request.entries())
    return NounResponse(_answer(upload, missing), status_code=201)


@router.get("/uploads/{id}", responses=answers(UploadAnswer, "not_found"), response_model=None)
def get_upload(here: Here, id: IdPath) -> NounResponse:
    """How far an upload is."""
    upload = here.uploads.get(id)
    return NounResponse(_answer(upload, uploading.missing(here.blobs, upload)))


@router.put(
    "/uploads/{id}/blobs/{sha256}",
    status_code=204,
    responses=failures("not_found", "conflict", "unavailable"),
    response_model=None,
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
        }
    },
)
async def send_blob(here: Here, id: IdPath, sha256: DigestPath, request: Request) -> None:
    """Send the bytes of one file; they count only when all have come and are those of the digest."""
    upload = await run_in_threadpool(here.uploads.get, id)
    size = next((file.size for file in upload.manifest.files if file.sha256 == sha256), None)
    if size is None:
        raise NotFound(f"The upload {id} has no file of the digest {sha256}.", field="sha256")
    told = request.headers.get("content-length")
    if told is not None and int(told) != size:
        raise InvalidInput(
            f"This file was announced with {size} bytes; {told} are being sent.", field="content-length"
        )
    await uploading.receive(here.uploads, here.blobs, id, sha256, request.stream())


@router.delete("/uploads/{id}", status_code=204, responses=failures("not_found"), response_model=None)
def delete_upload(here: Here, id: IdPath) -> None:
    """Give up an upload; bytes that nothing else refers to are collected."""
    here.uploads.get(id)
    here.uploads.delete(id)
    here.janitor.wake()


def _answer(upload: Upload, missing: list[str]) -> UploadAnswer:
    return UploadAnswer(
        id=upload.id,
        manifest=upload.manifest,
        missing=tuple(missing),
        created=upload.created,
        expires=upload.expires,
    )
