"""``/uploads``: files on their way in, whole or not at all."""

import base64
import binascii
import re

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from modelyard.control.answers import UploadAnswer
from modelyard.control.api.common import PREFIX, By, DigestPath, Here, IdPath, PartPath
from modelyard.control.openapi import NounResponse, answers, failures
from modelyard.control.platform import Platform
from modelyard.control.requests import UploadRequest
from modelyard.core.errors import InvalidInput
from modelyard.registry import upload as uploading
from modelyard.store.staging import PART_SIZE
from modelyard.store.uploads import Upload

router = APIRouter(prefix=PREFIX, tags=["uploads"])

_BYTES = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


@router.post(
    "/uploads",
    status_code=201,
    responses=answers(UploadAnswer, "unavailable", status=201),
    response_model=None,
)
def begin_upload(here: Here, by: By, request: UploadRequest) -> NounResponse:
    """Say which files will come; the answer says which bytes are missing, each to be sent once."""
    upload, missing = uploading.begin(
        here.uploads, here.blobs, request.entries(), project=by.into, proving=not by.installation
    )
    return NounResponse(_answer(here, upload, missing), status_code=201)


@router.get("/uploads/{id}", responses=answers(UploadAnswer, "not_found"), response_model=None)
def get_upload(here: Here, id: IdPath) -> NounResponse:
    """How far an upload is."""
    upload = here.uploads.get(id)
    return NounResponse(_answer(here, upload, uploading.missing(here.uploads, here.blobs, upload)))


@router.put(
    "/uploads/{id}/blobs/{sha256}",
    status_code=204,
    responses=failures("not_found", "conflict", "unavailable"),
    response_model=None,
    openapi_extra=_BYTES,
)
async def send_blob(here: Here, id: IdPath, sha256: DigestPath, request: Request) -> None:
    """Send the bytes of one file; they count only when all have come and are those of the digest."""
    size = await run_in_threadpool(uploading.size_of, here.uploads, id, sha256)
    told = request.headers.get("content-length")
    if told is not None and int(told) != size:
        raise InvalidInput(
            f"This file was announced with {size} bytes; {told} are being sent.", field="content-length"
        )
    await uploading.receive(here.uploads, here.blobs, id, sha256, request.stream())


@router.put(
    "/uploads/{id}/blobs/{sha256}/parts/{number}",
    status_code=204,
    responses=failures("not_found", "conflict", "unavailable"),
    response_model=None,
    openapi_extra=_BYTES,
)
async def send_part(here: Here, id: IdPath, sha256: DigestPath, number: PartPath, request: Request) -> None:
    """Send one part of a file, any number of them at once and in any order. It is kept when all of it has come,
    and is what ``Content-Digest: sha-256=:…:`` says (RFC 9530), where that is sent."""
    part_sha256 = _content_digest(request.headers.get("content-digest"))
    await uploading.receive_part(
        here.uploads, here.blobs, id, sha256, number, request.stream(), part_sha256=part_sha256
    )


@router.post(
    "/uploads/{id}/blobs/{sha256}",
    status_code=204,
    responses=failures("not_found", "conflict", "unavailable"),
    response_model=None,
)
def assemble_blob(here: Here, id: IdPath, sha256: DigestPath) -> None:
    """All parts of a file have been sent: put them together, if they are the file of the digest."""
    uploading.assemble(here.uploads, here.blobs, id, sha256)


@router.delete("/uploads/{id}", status_code=204, responses=failures("not_found"), response_model=None)
def delete_upload(here: Here, id: IdPath) -> None:
    """Give up an upload; bytes that nothing else refers to are collected."""
    here.uploads.get(id)
    here.uploads.delete(id)
    here.janitor.wake()


def _answer(here: Platform, upload: Upload, missing: list[str]) -> UploadAnswer:
    return UploadAnswer(
        id=upload.id,
        manifest=upload.manifest,
        missing=tuple(missing),
        parts=uploading.parts_come(here.blobs, upload, missing),
        part_size=PART_SIZE,
        created=upload.created,
        expires=upload.expires,
    )


def _content_digest(told: str | None) -> str | None:
    """The SHA-256 of a Content-Digest header, in hex; None when there is none of that kind. Raises InvalidInput."""
    if told is None or (found := re.search(r"(?:^|,)\s*sha-256=:([^:]*):", told)) is None:
        return None
    try:
        digest = base64.b64decode(found[1], validate=True)
    except binascii.Error as error:
        raise InvalidInput(
            "The Content-Digest is not base64 between colons.", field="content-digest"
        ) from error
    if len(digest) != 32:
        raise InvalidInput("A SHA-256 has 32 bytes.", field="content-digest")
    return digest.hex()
