"""What ``modelyard models`` does with one version: show it, sign it, verify it, say what it is made of."""

from pathlib import Path
from typing import Any

import typer

from modelyard.cli.analyze import print_analysis
from modelyard.cli.common import client
from modelyard.cli.models import standing
from modelyard.cli.output import format_date, print_facts, print_json, say
from modelyard.client.synchronous import Client
from modelyard.core.errors import InvalidInput, RejectedContent
from modelyard.core.model import Version
from modelyard.core.provenance import Provenance
from modelyard.core.reference import parse_reference
from modelyard.core.units import format_bytes


def version_of(platform: Client, told: str) -> Version:
    """``NAME/N``, ``NAME@ALIAS``, or ``NAME`` for the latest. Raises BadParameter (exit 2), NotFound."""
    try:
        return platform.registry.find(str(parse_reference(told)))
    except InvalidInput as error:
        raise typer.BadParameter(error.message) from error


def show_version(told: str, *, as_json: bool) -> None:
    with client() as platform:
        version = version_of(platform, told)
        provenance = platform.provenance(version.model, version.number)
        signatures = platform.signatures(version.model, version.number)
        licence = platform.registry.card(f"{version.model}/{version.number}").card.licence
    if as_json:
        print_json({"version": version, "provenance": provenance, "signatures": signatures})
        return
    files = version.manifest.files
    listed = [f"{file.path} ({format_bytes(file.size)})" for file in files[:20]]
    more = [f"and {len(files) - 20} more"] if len(files) > 20 else []
    parent = version.parent
    facts = [
        ("digest", version.digest),
        ("made", format_date(version.created)),
        ("files", "\n".join([*listed, *more])),
        ("trusted", _trusted(version)),
        ("in quarantine", version.quarantine or ""),
        ("aliases", ", ".join(version.aliases)),
        ("made from", "" if parent is None else f"{parent.model}/{parent.number} ({parent.relation})"),
        ("state", standing(version)),
        ("licence", "" if licence is None else f"{licence}, as its card says"),
        ("came from", "\n".join(map(_told, provenance)) or "not known: it is older than this record"),
        ("signatures", "\n".join(f"{each.verdict}: {each.why}" for each in signatures) or "none"),
    ]
    print(f"{version.model} version {version.number}\n")
    print_facts([(label, text) for label, text in facts if text])
    print()
    print_analysis(version.analysis)


def sign_version(told: str, key: Path, *, as_json: bool) -> None:
    from modelyard.registry.signing import sign

    with client() as platform:
        version = version_of(platform, told)
        kept = platform.add_signature(
            version.model, version.number, sign(version.manifest, version.model, key)
        )
    if as_json:
        print_json(kept)
        return
    count = len(version.manifest.files)
    print(f"{version.model}/{version.number} is signed ({count} {'file' if count == 1 else 'files'}).")
    print(f"To this platform: {kept.why}")


def verify_version(told: str, key: Path, *, as_json: bool) -> None:
    """Raises RejectedContent unless a signature of the version is by ``key``."""
    from modelyard.registry.signing import check_key, judge

    check_key(key)
    with client() as platform:
        version = version_of(platform, told)
        signatures = platform.signatures(version.model, version.number)
    judged = [judge(version.manifest, each.bundle, [key]) for each in signatures]
    if not any(verdict == "verified" for verdict, _, _ in judged):
        why = judged[-1][2] if judged else "it has no signature."
        raise RejectedContent(f"{version.model}/{version.number} is not verified by {key.name}: {why}")
    if as_json:
        print_json(
            {"model": version.model, "version": version.number, "digest": version.digest, "verified": True}
        )
    else:
        print(f"{version.model}/{version.number} is as it was signed, by the key {key.name}.")


def sbom_of_version(told: str, output: Path | None, *, as_json: bool) -> None:
    with client() as platform:
        version = version_of(platform, told)
        _give(platform.sbom(version.model, version.number), output, as_json=as_json)


def sbom_of_environment(id: str, output: Path | None, *, as_json: bool) -> None:
    """By the environment's id or the beginning of it. Raises NotFound."""
    from modelyard.cli.environments import one_of

    with client() as platform:
        _give(platform.environment_sbom(one_of(platform, id).id), output, as_json=as_json)


def _give(sbom: dict[str, Any], output: Path | None, *, as_json: bool) -> None:
    if output is None:
        print_json(sbom)
        return
    import json

    output.write_text(json.dumps(sbom, indent=2, ensure_ascii=False) + "\n")
    told = {"file": str(output), "components": len(sbom.get("components", []))}
    if as_json:
        print_json(told)
    else:
        say(f"{told['components']} components in {output}")


def _told(each: Provenance) -> str:
    by = f" by {each.user} (as they say)" if each.user else ""
    seen = format_date(each.first) + ("" if each.last == each.first else f", last {format_date(each.last)}")
    return f"{each.source.told}, {seen}{by}, with {each.client or 'a client that does not say'}, {each.uploader}"


def _trusted(version: Version) -> str:
    if not version.trusted:
        return ""
    if version.trust is None:
        return "yes"
    return f"by {version.trust.who}" + (f": {version.trust.because}" if version.trust.because else "")
