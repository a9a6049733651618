"""Nouns as plain JSON values, the form in which options travel to an executor."""

import msgspec

from modelyard.core.signature import Signature


def plain(signature: Signature | None) -> dict[str, object] | None:
    """The signature as dictionaries and lists: equal to what comes back from JSON."""
    if signature is None:
        return None
    return msgspec.json.decode(msgspec.json.encode(signature), type=dict[str, object])
