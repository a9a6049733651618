"""The OpenAPI document: nouns describe themselves, so that it cannot say anything but what is sent."""

from collections.abc import Sequence
from typing import Any, get_args, get_origin

import msgspec
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.responses import Response

from modelyard.control.answers import ErrorBody
from modelyard.core.errors import ERROR_KINDS

_TEMPLATE = "#/components/schemas/{name}"
_types: list[Any] = [ErrorBody]
_ALWAYS = ("invalid_input", "unauthenticated", "forbidden", "too_large", "internal")


class NounResponse(Response):
    """A noun, or a list of nouns, as JSON."""

    media_type = "application/json"

    def render(self, content: object) -> bytes:
        """Encode with msgspec; a NaN becomes null."""
        return msgspec.json.encode(content)


def answers(
    noun: Any, *errors: str, status: int = 200, also: Sequence[int] = ()
) -> dict[int | str, dict[str, Any]]:
    """The ``responses`` of an operation: ``noun`` with ``status`` (and ``also``), and error codes."""
    _types.append(noun)
    content = {"application/json": {"schema": _schema(noun)}}
    responses: dict[int | str, dict[str, Any]] = {
        code: {"description": "Done", "content": content} for code in (status, *also)
    }
    return responses | failures(*errors)


def _schema(noun: Any) -> dict[str, Any]:
    """By reference: the nouns themselves are described only when somebody asks for the document."""
    if get_origin(noun) is list:
        return {"type": "array", "items": _schema(get_args(noun)[0])}
    return {"$ref": _TEMPLATE.format(name=noun.__name__)}


def _anything(type_: type) -> dict[str, Any]:
    """``object`` in a noun is any JSON value."""
    if type_ is object:
        return {"description": "any JSON value"}
    raise NotImplementedError(f"{type_} has no JSON form")


def failures(*errors: str) -> dict[int | str, dict[str, Any]]:
    """The responses of an operation that may fail with ``errors`` and with what all may fail with."""
    reference = {"$ref": _TEMPLATE.format(name="ErrorBody")}
    codes: dict[int, list[str]] = {}
    for code in (*_ALWAYS, *errors):
        codes.setdefault(ERROR_KINDS[code].http, []).append(code)
    return {
        status: {
            "description": " or ".join(dict.fromkeys(names)),
            "content": {"application/json": {"schema": reference}},
        }
        for status, names in sorted(codes.items())
    }


def install(app: FastAPI) -> None:
    """Make ``app.openapi`` add the nouns and leave out FastAPI's own form of validation errors."""

    def build() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = get_openapi(
                title=app.title, version=app.version, description=app.description, routes=app.routes
            )
            _, components = msgspec.json.schema_components(
                _types, schema_hook=_anything, ref_template=_TEMPLATE
            )
            schemas = document.setdefault("components", {}).setdefault("schemas", {})
            schemas |= components
            for name in ("HTTPValidationError", "ValidationError"):
                schemas.pop(name, None)
            for path in document["paths"].values():
                for operation in path.values():
                    told = operation["responses"].get("422", {})
                    if "HTTPValidationError" in str(told):
                        del operation["responses"]["422"]
            document["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
            document["security"] = [{}, {"key": []}]
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = build
