"""The base of every noun: an immutable struct that refuses unknown fields."""

import msgspec


class Noun(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An immutable value with JSON in and out; an unknown field is an error, never ignored."""
