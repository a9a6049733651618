"""What the registry is asked for: search, aliases, cards, lineage, comparison, the end of versions."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import msgspec

from modelyard.client.answers import AliasInfo, ModelAliases, decode
from modelyard.client.flows import Session, part
from modelyard.client.steps import Flow
from modelyard.core.card import Card, CardAnswer
from modelyard.core.comparison import Comparison
from modelyard.core.history import AliasMove, LineageNode
from modelyard.core.listing import Page, Wanted
from modelyard.core.model import Relation, Version
from modelyard.core.reference import LATEST, Reference, parse_model, parse_reference

Named = str | Reference
_DEFAULT = Wanted()


def reference_of(named: Named) -> Reference:
    """``fraud``, ``fraud/3`` or ``fraud@production``. Raises InvalidInput."""
    return parse_reference(named) if isinstance(named, str) else named


def path_of(named: Named) -> str:
    """The path of a version."""
    reference = reference_of(named)
    which = LATEST if reference.which is None else str(reference.which)
    return f"/models/{part(reference.model)}/versions/{part(which)}"


def search(session: Session, wanted: Wanted, limit: int, cursor: str | None) -> Flow[Page]:
    asked: list[tuple[str, str]] = [("limit", str(limit))]
    for name in wanted.__struct_fields__:
        value = getattr(wanted, name)
        if value == getattr(_DEFAULT, name):
            continue
        if name in ("tags", "metrics"):
            asked += [(name.removesuffix("s"), each) for each in value]
        else:
            asked.append((name, str(value).lower() if isinstance(value, bool) else str(value)))
    if cursor is not None:
        asked.append(("cursor", cursor))
    return (yield from session.ask(Page, f"/versions?{urlencode(asked)}"))


def find(session: Session, named: Named) -> Flow[Version]:
    return (yield from session.ask(Version, path_of(named)))


def aliases(session: Session, model: str) -> Flow[dict[str, int]]:
    return (yield from session.ask(ModelAliases, f"/models/{part(parse_model(model))}/aliases")).aliases


def move_alias(
    session: Session, model: str, alias: str, version: int | str, because: str, expected: int | None
) -> Flow[AliasInfo]:
    body = {"version": version, "because": because, "expected": expected}
    reply = yield from session.api("PUT", f"/models/{part(parse_model(model))}/aliases/{part(alias)}", body)
    return decode(reply.body, AliasInfo)


def remove_alias(
    session: Session, model: str, alias: str, because: str, expected: int | None
) -> Flow[AliasInfo]:
    asked: dict[str, str | int] = {"because": because}
    if expected is not None:
        asked["expected"] = expected
    path = f"/models/{part(parse_model(model))}/aliases/{part(alias)}?{urlencode(asked)}"
    return decode((yield from session.api("DELETE", path)).body, AliasInfo)


def history(
    session: Session, model: str, alias: str | None, since: float | None, until: float | None
) -> Flow[list[AliasMove]]:
    told = {"alias": alias, "since": since, "until": until}
    asked = urlencode({name: value for name, value in told.items() if value is not None})
    path = f"/models/{part(parse_model(model))}/history" + (f"?{asked}" if asked else "")
    return (yield from session.ask(list[AliasMove], path))


def card(session: Session, named: Named) -> Flow[CardAnswer]:
    return (yield from session.ask(CardAnswer, f"{path_of(named)}/card"))


def change_card(session: Session, model: str, given: Mapping[str, Any], because: str) -> Flow[CardAnswer]:
    body = {**given, "because": because}
    return decode(
        (yield from session.api("PATCH", f"/models/{part(parse_model(model))}/card", body)).body, CardAnswer
    )


def lineage(session: Session, named: Named) -> Flow[list[LineageNode]]:
    return (yield from session.ask(list[LineageNode], f"{path_of(named)}/lineage"))


def set_parent(
    session: Session,
    named: Named,
    parent: Named,
    relation: Relation,
    tradeoff: Mapping[str, Any] | None,
    because: str,
) -> Flow[Version]:
    source = reference_of(parent)
    body = {
        "model": source.model,
        "version": LATEST if source.which is None else source.which,
        "relation": relation,
        "tradeoff": tradeoff,
        "because": because,
    }
    return decode((yield from session.api("PUT", f"{path_of(named)}/parent", body)).body, Version)


def remove_parent(session: Session, named: Named) -> Flow[Version]:
    return decode((yield from session.api("DELETE", f"{path_of(named)}/parent")).body, Version)


def compare(session: Session, before: Named, after: Named, contents: bool) -> Flow[Comparison]:
    to = reference_of(after)
    which = LATEST if to.which is None else str(to.which)
    asked = urlencode({"to": which, "model": to.model, "contents": str(contents).lower()})
    reply = yield from session.api("GET", f"{path_of(before)}/compare?{asked}", timeout=600.0)
    return decode(reply.body, Comparison)


def deprecate(session: Session, named: Named, because: str) -> Flow[Version]:
    reply = yield from session.api("PUT", f"{path_of(named)}/deprecation", {"because": because})
    return decode(reply.body, Version)


def undeprecate(session: Session, named: Named) -> Flow[Version]:
    return decode((yield from session.api("DELETE", f"{path_of(named)}/deprecation")).body, Version)


def delete_version(session: Session, named: Named, because: str) -> Flow[Version]:
    """By number: an alias is looked up, and then uses the version."""
    version = yield from find(session, named)
    path = f"/models/{part(version.model)}/versions/{version.number}?{urlencode({'because': because})}"
    return decode((yield from session.api("DELETE", path)).body, Version)


def restore(session: Session, named: Named, because: str) -> Flow[Version]:
    version = yield from find(session, named)
    path = f"/models/{part(version.model)}/versions/{version.number}/restore"
    return decode((yield from session.api("POST", path, {"because": because})).body, Version)


def card_body(card: Card | None) -> dict[str, Any] | None:
    """A card as a request has it."""
    return None if card is None else msgspec.to_builtins(card)
