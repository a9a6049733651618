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
                [model.name, f"v{model.latest}", str(len(model.versions)), format_date(model.created)]
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
            {"name": model.name, "created": model.created, "latest": model.latest, "versions": versions}
        )
        return
    versions.sort(key=lambda version: version.number)
    print(f"{model.name}\n")
    print_table(
        ["VERSION", "FORMAT", "SIZE", "FILES", "TRUSTED", "DIGEST", "CREATED"],
        [
            [
                f"v{version.number}", version.analysis.format, format_bytes(version.manifest.size),
                str(len(version.manifest.files)), _trusted(version),
                version.digest[:12], format_date(version.created),
            ]
            for version in versions
        ],
        right=(2, 3),
    )  # fmt: skip
    if versions:
        print(f"\nVersion {versions[-1].number}\n")
        print_analysis(versions[-1].analysis)


def _trusted(version: Version) -> str:
    """Who trusts it and why, or that it is in quarantine."""
    if version.quarantine is not None:
        return "quarantine"
    if not version.trusted:
        return ""
    return f"yes: {version.trust.because}"[:40] if version.trust and version.trust.because else "yes"
