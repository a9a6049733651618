"""The flow of a push: files become a version of a model, and are not deployed."""

from pathlib import Path
from typing import NamedTuple

from modelyard.client.answers import decode
from modelyard.client.deploy_flow import Signer, name_of, provenance, signed, upload_of
from modelyard.client.flows import Session, part
from modelyard.client.registry_flows import card_body
from modelyard.client.steps import Flow
from modelyard.client.upload_flow import OnEvent, event
from modelyard.core.card import Card, CardAnswer
from modelyard.core.model import Version
from modelyard.core.provenance import Source

_LONG = 3600.0  # seconds: the platform scans and analyzes every file before it answers


class Arrived(NamedTuple):
    """The version that files are, whether they became it now, and the address of its page. ``kept`` are the fields of
    the model's card that were given and that it says otherwise already."""

    version: Version
    new: bool
    url: str
    kept: tuple[str, ...] = ()

    @property
    def note(self) -> str:
        """What is said of the fields of the card that were given and say something else already."""
        return (
            f"the card of {self.version.model} says its own {', '.join(self.kept)} already, and keeps that; to change it: "
            f"modelyard models card {self.version.model}"
        )


class Terms(NamedTuple):
    """With what files are pushed. ``trust_pickle`` allows those that execute code, ``because`` says why; ``card`` fills what
    the model's card does not say yet; ``source`` is where they came from (None: their path). ``sign`` signs them."""

    trust_pickle: bool = False
    because: str = ""
    card: Card | None = None
    source: Source | None = None
    sign: Signer | None = None


def push(session: Session, path: Path, name: str | None, terms: Terms, on_event: OnEvent) -> Flow[Arrived]:
    """Upload what the platform has not got of ``path``, and have it registered.

    What was uploaded stays when this is interrupted: the next time only the rest is sent. Raises NotFound for a path
    that is not there, RejectedContent for files that are no model or need trust.
    """
    model = name_of(path, name)
    upload, manifest = yield from upload_of(session, path, on_event)
    bundle = yield from signed(manifest, model, terms.sign)
    on_event(event("stage_started", "register", "Analyzing and scanning"))
    wanted = {
        "upload": upload,
        "trust_pickle": terms.trust_pickle,
        "because": terms.because,
        "card": card_body(terms.card),
        "bundle": bundle,
        "provenance": provenance(terms.source or Source(kind="path", name=path.absolute().name)),
    }
    reply = yield from session.api("POST", f"/models/{part(model)}/versions", wanted, timeout=_LONG)
    version, new = decode(reply.body, Version), reply.status == 201
    told = f"{version.model} version {version.number}" + ("" if new else ", which was there already")
    on_event(event("stage_done", "register", told))
    url = f"{session.location.url}/models/{part(version.model)}/versions/{version.number}"
    kept: tuple[str, ...] = ()
    if terms.card is not None and terms.card != Card():
        named = f"/models/{part(version.model)}/versions/{version.number}/card"
        kept = _kept(terms.card, (yield from session.ask(CardAnswer, named)).card)
    return Arrived(version, new, url, kept)


def _kept(given: Card, card: Card) -> tuple[str, ...]:
    """The fields of ``given`` that ``card`` says otherwise. Figures stand beside others', and a licence says of
    itself whether it is commercial."""
    nothing = Card()
    return tuple(
        name
        for name in Card.__struct_fields__
        if name not in ("metrics", "commercial")
        and getattr(given, name) != getattr(nothing, name)
        and getattr(given, name) != getattr(card, name)
    )
