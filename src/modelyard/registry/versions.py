"""How an uploaded manifest becomes a version: all bytes there, understood, and safe or trusted."""

from modelyard.analyze import analyze, families
from modelyard.core.errors import Conflict, RejectedContent
from modelyard.core.manifest import Manifest
from modelyard.core.model import Version
from modelyard.core.names import check_name
from modelyard.core.provenance import Arrival
from modelyard.core.signing import SIGNATURE_PATH
from modelyard.registry.signing import Signing
from modelyard.store.blobs import BlobStore
from modelyard.store.versions import Versions

# Whoever deploys these knows that they are programs.
CODE = frozenset({"function", "command"}) | families.names()


class NeedsTrust(RejectedContent):
    """Nothing is wrong with these files but that they run code; the same again with trust is fine."""


def register(
    blobs: BlobStore,
    versions: Versions,
    model: str,
    manifest: Manifest,
    *,
    trusted: bool,
    arrival: Arrival | None = None,
    signing: Signing | None = None,
) -> tuple[Version, bool]:
    """The version of ``manifest`` in ``model``, and whether it is new. ``arrival`` says where it came from.

    Raises Conflict while bytes are missing, RejectedContent for files that cannot be served, NeedsTrust
    for those that would execute code without ``trusted``, InvalidInput for a name that cannot be one; of files
    that are not signed as ``signing`` requires, RejectedContent.
    """
    check_name(model, field="model")
    require_blobs(blobs, manifest)
    bundle = signing.look(blobs, manifest) if signing is not None else None
    analysis = analyze(blobs.files(manifest))
    if analysis.because and analysis.executes != "no" and not trusted:
        raise NeedsTrust(
            f"{analysis.because} When you trust who made it, deploy it with --trust-pickle.",
            field=str(analysis.options.get("file", manifest.files[0].path)),
        )
    if analysis.executes == "pickle" and not trusted:
        raise NeedsTrust(
            "This model is a pickle, and loading one runs whatever code is in it. Save it in a format that "
            "cannot execute (skops, ONNX or safetensors); or, when you trust where it came from, deploy it "
            "with --trust-pickle.",
            field=str(analysis.options.get("file", manifest.files[0].path)),
        )
    if analysis.executes == "code" and analysis.adapter not in CODE and not trusted:
        raise NeedsTrust(
            "model.yaml asks for packages beside a format that runs no code by itself, and a package can. Leave "
            "them out; or, when you trust who wrote it, deploy with --trust-pickle.",
            field="model.yaml",
        )
    # The upload may have expired meanwhile: no version is made of bytes that were collected.
    with blobs.referring():
        require_blobs(blobs, manifest)
        version, new = versions.add(model, manifest, analysis, trusted, arrival=arrival)
    if signing is not None:
        signing.keep(version, bundle, place=SIGNATURE_PATH, who=arrival.uploader if arrival else "system")
    return version, new


def require_blobs(blobs: BlobStore, manifest: Manifest) -> None:
    """Raise Conflict unless the bytes of every file are there."""
    there = blobs.claim({file.sha256 for file in manifest.files})
    missing = [file.path for file in manifest.files if file.sha256 not in there]
    if missing:
        more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        raise Conflict(
            f"The bytes of {', '.join(missing[:5])}{more} have not been uploaded; send them first.",
            field=missing[0],
        )
