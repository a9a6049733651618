"""``modelyard models``: the list, and one model with its versions."""

from modelyard.cli.analyze import print_analysis
from modelyard.cli.common import client
from modelyard.cli.output import format_date, print_json, print_table
from modelyard.core.model import Version
from modelyard.core.units import format_bytes


def list_models(*, as_json: bool) -> None:
    with client() as platform:
        models = platform.models()
    if as_json:
        print_json(models)
    elif not models:
        print("No models yet. Deploy one: modelyard deploy ./model.onnx")
    else:
        print_table(
            ["MODEL", "LATEST", "VERSIONS", "CREATED"],
            [
                [
                    model.name,
                    f"v{model.latest}" if model.latest else "deleted",
                    str(len(model.versions)),
                    format_date(model.created),
                ]
                for model in models
            ],
            right=(2,),
        )


def show_model(name: str, *, as_json: bool) -> None:
    with client() as platform:
        model = platform.model(name)
        versions = [
            version if isinstance(version, Version) else platform.version(name, version)
            for version in model.versions
        ]
    if as_json:
        print_json(
            {
                "name": model.name,
                "created": model.created,
                "latest": model.latest,
                "versions": versions,
                "aliases": model.aliases,
            }
        )
        return
    versions.sort(key=lambda version: version.number)
    print(f"{model.name}\n")
    print_table(
        ["VERSION", "FORMAT", "SIZE", "FILES", "TRUSTED", "DIGEST", "CREATED", "ALIASES", ""],
        [
            [
                f"v{version.number}", version.analysis.format, format_bytes(version.manifest.size),
                str(len(version.manifest.files)), _trusted(version), version.digest[:12], format_date(version.created),
                ", ".join(version.aliases), standing(version),
            ]
            for version in versions
        ],
        right=(2, 3),
    )  # fmt: skip
    latest = next((version for version in versions if version.number == model.latest), None)
    if latest is not None:
        print(f"\nVersion {latest.number}\n")
        print_analysis(latest.analysis)


def standing(version: Version) -> str:
    """Whether it is deleted or deprecated, in words; empty when it is neither."""
    if version.deleted is not None:
        return f"deleted; gone after {format_date(version.deleted.until or 0.0)}"
    if version.deprecated is not None:
        return f"deprecated: {version.deprecated.why}"
    return ""


def _trusted(version: Version) -> str:
    """Who trusts it and why, or that it is in quarantine."""
    if version.quarantine is not None:
        return "quarantine"
    if not version.trusted:
        return ""
    return f"yes: {version.trust.because}"[:40] if version.trust and version.trust.because else "yes"
