"""Renders the templates beside it; whatever a model or a user wrote is escaped."""

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from modelyard.web.form import shape_text

_environment = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_environment.globals["shape_text"] = shape_text


def render(template: str, **values: Any) -> str:
    """The text of a page. A name that a template uses and nobody gave is an error, never empty."""
    return _environment.get_template(template).render(**values)
