"""How an uploaded manifest becomes a version: all bytes there, understood, and safe or trusted."""

from collections.abc import Callable, Collection

from msgspec.structs import replace

from modelyard.analyze import analyze
from modelyard.core.card import Card, check_card
from modelyard.core.errors import Conflict, InvalidInput, RejectedContent
from modelyard.core.manifest import Manifest
from modelyard.core.model import Analysis, Version
from modelyard.core.names import check_name
from modelyard.core.provenance import Arrival
from modelyard.core.scan import FileScan, VerdictName
from modelyard.registry.quarantine import CODE
from modelyard.registry.readme import read_readme
from modelyard.registry.scan.safety import Safety, refuse_malicious, told
from modelyard.registry.signing import Signing
from modelyard.store.blobs import BlobStore
from modelyard.store.versions import Versions


class NeedsTrust(RejectedContent):
    """Nothing is wrong with these files but that they run code; the same again with trust is fine."""


def register(
    blobs: BlobStore,
    versions: Versions,
    model: str,
    manifest: Manifest,
    *,
    trusted: bool,
    because: str = "",
    card: Card | None = None,
    who: str = "system",
    arrival: Arrival | None = None,
    signing: Signing | None = None,
    bundle: str | None = None,
    safety: Safety | None = None,
    progress: Callable[[str], None] = lambda _: None,
    check: Callable[[], None] = lambda: None,
    proven: Callable[[], Collection[str]] | None = None,
    project: str | None = None,
) -> tuple[Version, bool]:
    """The version of ``manifest`` in ``model``, and whether it is new. ``because``: why it is trusted; ``arrival``
    says where it came from.

    Every file is scanned first (``safety`` None: with what is installed, and nothing is kept). What the model's card
    does not say yet is taken from ``card``, then from the README among the files, then from the analysis. Raises
    Conflict while bytes are missing, RejectedContent for files that cannot be served, are malicious or not signed as
    ``signing`` requires, NeedsTrust for those that would execute code, or cannot be read to their end, without
    ``trusted``, Unavailable while a scanner that is required is away, InvalidInput for a name that cannot be one and for
    trust without the reason that the platform asks for.

    ``bundle`` is the signature that came with the files, beside one that may be among them; a version that is there
    already needs none anew. ``proven`` tells the digests that count as there when their bytes are (None: all); ``project`` is the one that the
    model is in, or is made in (see :meth:`Versions.add`).
    """
    check_name(model, field="model")
    if safety is not None:
        safety.require_reason(trusted, because)
    require_blobs(blobs, manifest, proven)
    bundles: dict[str, str] = {}
    if signing is not None:
        known = versions.with_digest(model, manifest.digest) if signing.policy == "required" else None
        bundles = signing.look(blobs, manifest, bundle, known)
    scans, _ = (safety or Safety(blobs)).look(manifest, progress=progress, check=check)
    refuse_malicious(scans)
    files = blobs.files(manifest)
    analysis = analyze(files)
    if analysis.because and analysis.executes != "no" and not trusted:
        raise NeedsTrust(
            f"{analysis.because} When you trust who made it, say so with --trust-pickle --because 'WHY'.",
            field=str(analysis.options.get("file", manifest.files[0].path)),
        )
    if analysis.executes == "pickle" and not trusted:
        raise NeedsTrust(
            "This model is a pickle, and loading one runs whatever code is in it. Save it in a format that "
            "cannot execute (skops, ONNX or safetensors); or, when you trust where it came from, say so "
            "with --trust-pickle --because 'WHY'.",
            field=str(analysis.options.get("file", manifest.files[0].path)),
        )
    if analysis.executes == "code" and analysis.adapter not in CODE and not trusted:
        raise NeedsTrust(
            "model.yaml asks for packages beside a format that runs no code by itself, and a package can. Leave "
            "them out; or, when you trust who wrote it, say so with --trust-pickle --because 'WHY'.",
            field="model.yaml",
        )
    if not trusted:
        _require_trust(scans, runs_code=analysis.adapter in CODE)
    readme = read_readme(files)
    written = Card() if readme is None else readme.card
    said = (card or Card()).filled(replace(written, metrics=())).filled(_licensed(analysis))
    # The upload may have expired meanwhile: no version is made of bytes that were collected.
    with blobs.referring():
        require_blobs(blobs, manifest, proven)
        version, new = versions.add(
            model,
            manifest,
            analysis,
            trusted,
            who=who,
            because=because,
            arrival=arrival,
            card=said,
            readme=None if readme is None else readme.text,
            readme_metrics=written.metrics,
            project=project,
        )
    if version.quarantine is not None:  # it was found to be bad before, and is not by what has looked now
        version = versions.set_quarantine(model, version.number, None, who=who)
    if signing is not None:
        signing.keep(version, bundles, who=arrival.uploader if arrival else who)
    return version, new


def _licensed(analysis: Analysis) -> Card:
    """The licence that the files themselves tell, where they name one that a card can say."""
    told = analysis.details.get("licence", "") if analysis.licence is None else analysis.licence.spdx
    try:
        return Card() if told in ("", "other", "unknown") else check_card(Card(licence=told))
    except InvalidInput:
        return Card()


def _require_trust(scans: list[FileScan], *, runs_code: bool) -> None:
    """Raise NeedsTrust for what would execute. Where the model is a program anyway, its files are its own."""
    levels: tuple[VerdictName, ...] = ("executes", "unreadable")
    for level in levels:
        bad = [file for file in scans if file.verdict == level]
        if not bad or runs_code:
            continue
        what = (
            "could run code"
            if level == "executes"
            else "cannot be read to the end, and may hide what it does"
        )
        raise NeedsTrust(
            f"It {what}: {told(bad, level)}. Save the model in a format that cannot execute (safetensors, ONNX, skops); "
            "or, when you trust who made it, say so with --trust-pickle --because 'WHY'.",
            field=bad[0].path,
        )


def require_blobs(
    blobs: BlobStore, manifest: Manifest, proven: Callable[[], Collection[str]] | None = None
) -> None:
    """Raise Conflict unless the bytes of every file are there, and ``proven`` tells its digest."""
    digests = {file.sha256 for file in manifest.files}
    there = blobs.claim(digests if proven is None else digests & set(proven()))
    missing = [file.path for file in manifest.files if file.sha256 not in there]
    if missing:
        more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        raise Conflict(
            f"The bytes of {', '.join(missing[:5])}{more} have not been uploaded; send them first.",
            field=missing[0],
        )
