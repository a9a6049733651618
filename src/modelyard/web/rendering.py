"""Renders the templates beside it; whatever a model or a user wrote is escaped."""

import re
import unicodedata
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from modelyard.core.units import format_bytes, format_count, format_seconds
from modelyard.web.form import shape_text


def plain(text: str) -> str:
    """``text`` with its invisible characters written out: those that turn the direction of writing can make
    ``gpj.exe`` look like ``exe.jpg``."""
    return re.sub(r"[\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]", _written_out, text)


def unturned(text: str) -> str:
    """``text`` with only those written out that turn what follows them; others are needed to write some languages."""
    return re.sub(r"[\u202a-\u202e\u2066-\u2069]", _written_out, text)


def moment(seconds: float, exact: bool = False) -> str:
    """Seconds since the epoch as ``2026-11-30 16:40``, UTC; ``exact``: to the second."""
    form = "%Y-%m-%d %H:%M:%S" if exact else "%Y-%m-%d %H:%M"
    return datetime.fromtimestamp(seconds, UTC).strftime(form)


def _written_out(found: re.Match[str]) -> str:
    return f"⟨{unicodedata.name(found[0], f'U+{ord(found[0]):04X}').lower()}⟩"


_environment = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_environment.globals["shape_text"] = shape_text
_environment.filters |= {
    "bytes": format_bytes,
    "amount": format_count,
    "span": format_seconds,
    "moment": moment,
    "plain": plain,
}


def render(template: str, **values: Any) -> str:
    """The text of a page. A name that a template uses and nobody gave is an error, never empty."""
    return _environment.get_template(template).render(**values)
