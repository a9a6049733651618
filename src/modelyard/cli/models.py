"""``modelyard models``: the list, and one model with its versions."""

from modelyard.cli.analyze import print_analysis
from modelyard.cli.common import client
from modelyard.cli.output import format_date, print_facts, print_json, print_table
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
                str(len(version.manifest.files)), "yes" if version.trusted else "",
                version.digest[:12], format_date(version.created), ", ".join(version.aliases), _standing(version),
            ]
            for version in versions
        ],
        right=(2, 3),
    )  # fmt: skip
    latest = next((version for version in versions if version.number == model.latest), None)
    if latest is not None:
        print(f"\nVersion {latest.number}\n")
        print_analysis(latest.analysis)


def show_version(name: str, *, as_json: bool) -> None:
    """One version, named ``fraud/3`` or ``fraud@production``."""
    with client() as platform:
        version = platform.registry.find(name)
    if as_json:
        print_json(version)
        return
    parent = version.parent
    facts = [
        ("version", f"{version.model}/{version.number}"),
        ("digest", version.digest),
        ("created", format_date(version.created)),
        ("files", f"{len(version.manifest.files)}, {format_bytes(version.manifest.size)}"),
        ("trusted", "yes" if version.trusted else ""),
        ("aliases", ", ".join(version.aliases)),
        ("made from", "" if parent is None else f"{parent.model}/{parent.number} ({parent.relation})"),
        ("", _standing(version)),
    ]
    print_facts([(label, text) for label, text in facts if text])
    print()
    print_analysis(version.analysis)


def _standing(version: Version) -> str:
    if version.deleted is not None:
        return f"deleted; gone after {format_date(version.deleted.until or 0.0)}"
    if version.deprecated is not None:
        return f"deprecated: {version.deprecated.why}"
    return ""
