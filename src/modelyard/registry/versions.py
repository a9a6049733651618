"""How an uploaded manifest becomes a version: all bytes there, understood, and safe or trusted."""

from modelyard.analyze import analyze, families
from modelyard.core.card import Card, check_card
from modelyard.core.errors import Conflict, InvalidInput, RejectedContent
from modelyard.core.manifest import Manifest
from modelyard.core.model import Analysis, Version
from modelyard.core.names import check_name
from modelyard.registry.readme import read_readme
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
    card: Card | None = None,
    who: str = "system",
) -> tuple[Version, bool]:
    """The version of ``manifest`` in ``model``, and whether it is new.

    What the model's card does not say yet is taken from ``card``, then from the README among the files, then from
    the analysis.

    Raises Conflict while bytes are missing, RejectedContent for files that cannot be served, NeedsTrust
    for those that would execute code without ``trusted``, InvalidInput for a name that cannot be one.
    """
    check_name(model, field="model")
    require_blobs(blobs, manifest)
    files = blobs.files(manifest)
    analysis = analyze(files)
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
    readme = read_readme(files)
    told = (card or Card()).filled(readme.card if readme is not None else Card())
    told = told.filled(_licensed(analysis))
    # The upload may have expired meanwhile: no version is made of bytes that were collected.
    with blobs.referring():
        require_blobs(blobs, manifest)
        return versions.add(
            model,
            manifest,
            analysis,
            trusted,
            who=who,
            card=told,
            readme=None if readme is None else readme.text,
        )


def _licensed(analysis: Analysis) -> Card:
    """The licence that the files themselves tell, where they name one that SPDX knows."""
    try:
        told = analysis.details.get("licence", "")
        return Card() if told in ("", "other", "unknown") else check_card(Card(licence=told))
    except InvalidInput:
        return Card()


def require_blobs(blobs: BlobStore, manifest: Manifest) -> None:
    """Raise Conflict unless the bytes of every file are there."""
    missing = [file.path for file in manifest.files if not blobs.has(file.sha256)]
    if missing:
        more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        raise Conflict(
            f"The bytes of {', '.join(missing[:5])}{more} have not been uploaded; send them first.",
            field=missing[0],
        )
