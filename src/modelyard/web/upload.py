"""The upload page. Its script talks to the API: what is sent there is what the command line sends."""

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse, Response

from modelyard.store.files import SKIPPED
from modelyard.web.page import or_problem, page

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)


@router.get("/upload")
def show_upload(request: Request) -> Response:
    """The place to drop files on."""
    return or_problem(request, lambda: page(request, "upload.html", skipped=sorted(SKIPPED)))
