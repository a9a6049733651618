"""A model's page: one of its versions with all that is known of it, and the files of a version."""

from collections.abc import Iterator
from itertools import chain
from typing import Any, Final
from urllib.parse import quote

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse, Response, StreamingResponse

from modelyard.core.card import CardAnswer
from modelyard.core.errors import ModelyardError, NotFound
from modelyard.core.figure import figure_key, figures_of
from modelyard.core.files import Files
from modelyard.core.model import Version
from modelyard.core.names import check_name
from modelyard.core.reference import parse_which
from modelyard.core.requirements import without_ranges
from modelyard.core.scan import FileScan, VersionScan
from modelyard.registry.quarantine import trust_needed
from modelyard.web import markdown
from modelyard.web.lineage import draw
from modelyard.web.page import HEADERS, or_problem, page
from modelyard.web.visitor import Visitor

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)

MISSING: Final = "There is no such model"
_VERSIONS, _FILES, _MOVES, _FINDINGS, _FIGURES = 20, 200, 50, 100, 6
_PIECE: Final = 1024 * 1024


@router.get("/models/{name}")
def show_model(request: Request, name: str) -> Response:
    """The latest version of a model."""
    return or_problem(request, lambda: show(request, name, None), missing=MISSING)


@router.get("/models/{name}/versions/{version}")
def show_version(request: Request, name: str, version: str) -> Response:
    """One version: its number, an alias, or ``latest``."""
    return or_problem(request, lambda: show(request, name, version), missing=MISSING)


@router.get("/models/{name}/versions/{version}/files/{path:path}")
def send_file(request: Request, name: str, version: str, path: str) -> Response:
    """One file, to be saved and never to be shown: what is in it is not ours."""
    return or_problem(request, lambda: _file(request, name, version, path), missing="There is no such file")


def show(
    request: Request, name: str, which: str | None, *, wrong: ModelyardError | None = None
) -> Response:
    """The page of a version; ``wrong`` is why something that was asked of it was not done. Raises NotFound."""
    visitor = Visitor(request)
    version = visitor.version(check_name(name), None if which is None else parse_which(which))
    listed = visitor.versions(name, _VERSIONS)
    card = visitor.card(version)
    nodes = visitor.lineage(version)
    scan = visitor.scan(version)
    moves = visitor.history(name)
    used = next((row.endpoints for row in listed.versions if row.number == version.number), None)
    return page(
        request,
        "model.html",
        status=200 if wrong is None else wrong.kind.http,
        version=version,
        analysis=version.analysis,
        card=card.card,
        card_from=card,
        figures=_figures(card),
        text=None if card.card.text is None else markdown.to_html(card.card.text),
        cut=card.card.text is not None and markdown.is_cut(card.card.text),
        facts=_facts(version),
        files=_files(version, scan),
        more_files=max(0, len(version.manifest.files) - _FILES),
        scan=scan,
        findings=_findings(scan),
        needed=trust_needed(version, scan),
        signatures=visitor.signatures(version),
        provenance=visitor.provenance(version),
        picture=draw(nodes, version.model, version.number) if len(nodes) > 1 else None,
        moves=moves[:_MOVES],
        more_moves=max(0, len(moves) - _MOVES),
        aliases=visitor.aliases(name),
        versions=listed.versions,
        more_versions=listed.next is not None,
        deleted=visitor.deleted(name, _VERSIONS),
        latest=next((row.number for row in listed.versions if row.latest), None),
        endpoints=visitor.endpoints(version) if used is None else used,
        wrong=wrong,
    )


def _figures(card: CardAnswer) -> list[str]:
    """What the version was measured by, by the names that search has for it."""
    own = (table for table in card.card.metrics if table.source == f"{card.model}/{card.version}")
    names = dict.fromkeys(figure_key(figure.name) for figure in figures_of(own))
    return list(names)[:_FIGURES]


def _facts(version: Version) -> list[tuple[str, Any]]:
    """What the analysis learnt, in words, without what is not known."""
    known = version.analysis
    memory = known.memory_bytes
    told: list[tuple[str, Any]] = [
        ("format", known.format),
        ("served by", known.adapter),
        ("precision", known.precision),
        ("context", None if known.context_length is None else f"{known.context_length:,}"),
        ("memory", memory and (memory.low, memory.high)),
        ("measured", known.memory_measured),
        ("GPU", None if known.gpu == "no" else f"{known.gpu}. {known.gpu_because}".rstrip(" .")),
        ("Python", known.python),
        ("runs code", None if known.executes == "no" else known.because or known.executes),
        ("network", "needs it" if known.network else None),
        *((label, text) for label, text in known.details.items()),
        ("requirements", ", ".join(without_ranges(known.requirements))),
        ("system", ", ".join(known.system_packages)),
    ]
    found: dict[str, Any] = {}
    for label, value in told:
        if value:
            found.setdefault(label, value)
    return list(found.items())


def _files(version: Version, scan: VersionScan) -> list[tuple[Any, FileScan, str]]:
    """The first files with their scans and addresses."""
    root = f"/models/{version.model}/versions/{version.number}/files/"
    return [
        (file, scanned, root + quote(file.path))
        for file, scanned in zip(version.manifest.files[:_FILES], scan.files[:_FILES], strict=True)
    ]


def _findings(scan: VersionScan) -> list[tuple[str, str, Any]]:
    """What was found, the worst first: path, scanner, finding."""
    order = {"malicious": 0, "executes": 1, "unreadable": 2, "note": 3}
    found = [
        (file.path, verdict.scanner, finding)
        for file in scan.files
        for verdict in file.verdicts
        for finding in verdict.findings
    ]
    return sorted(found, key=lambda each: order[each[2].level])[:_FINDINGS]


def _file(request: Request, name: str, which: str, path: str) -> Response:
    visitor = Visitor(request)
    version = visitor.version(check_name(name), parse_which(which))
    if path not in {file.path for file in version.manifest.files}:
        raise NotFound(f"{name}/{version.number} has no file {path[:200]!r}.", field="path")
    files = visitor.files(version)
    headers = HEADERS | {
        "content-disposition": f"attachment; filename*=UTF-8''{quote(path.rsplit('/', 1)[-1], safe='')}",
        "content-length": str(files.size(path)),
    }
    pieces = _pieces(files, path)
    first = next(pieces, b"")  # bytes that are lost are told before an answer has begun
    return StreamingResponse(
        chain((first,), pieces), media_type="application/octet-stream", headers=headers
    )


def _pieces(files: Files, path: str) -> Iterator[bytes]:
    for start in range(0, files.size(path), _PIECE):
        yield files.read(path, start, _PIECE)
