"""What a remote's answer that is not 200 means: one of our errors, and what it says of the remote.

Our own nodes say their code; others only a status and, in one of a few places, a sentence.
"""

import math
from collections.abc import Mapping
from typing import Final, Literal, cast

import msgspec

from modelyard.core.errors import ERROR_KINDS, Internal, ModelyardError, Unavailable
from modelyard.serve.remote.exchange import Reply

Verdict = Literal["success", "failure", "unknown"]

# Unknown: a model that raises may do so for that input alone, and a full queue is no defect.
_VERDICTS: Final[dict[str, Verdict]] = {
    "invalid_input": "success",
    "too_large": "success",
    "rejected_content": "success",
    "conflict": "success",
    "overloaded": "unknown",
    "cancelled": "unknown",
    "deadline": "unknown",
    "internal": "unknown",
    "unavailable": "failure",
}
_CODES: Final = {
    400: "invalid_input", 404: "unavailable", 408: "deadline", 409: "conflict", 413: "too_large",
    415: "invalid_input", 422: "invalid_input", 429: "overloaded", 499: "cancelled", 500: "internal",
    502: "unavailable", 503: "unavailable", 504: "deadline",
}  # fmt: skip
_MAX_MESSAGE = 500  # characters of a remote's sentence that are passed on
MAX_RETRY_AFTER = 300.0


class Refused(Exception):
    """A call that a remote did not answer with an Answer: the error to tell, and the verdict on the remote."""

    def __init__(self, error: ModelyardError, verdict: Verdict) -> None:
        super().__init__(error.message)
        self.error = error
        self.verdict: Verdict = verdict


def lying(name: str, what: str) -> Refused:
    """The remote answered, but not what it says it answers: another backend may do better."""
    return Refused(Unavailable(f"The remote {name} answered wrongly: {what}."), "failure")


def refused(reply: Reply, name: str) -> Refused:
    """The error in ``reply``, a status other than 200, of the remote called ``name``."""
    body = _object(reply.body)
    retry_after = retry_after_of(reply.headers)
    code = body.get("code")
    if reply.status in (401, 403):
        # Its key is this node's matter; who called us has done nothing wrong.
        return Refused(
            Internal(
                f"The remote {name} refuses this node's key ({reply.status}); see key_variable of its route."
            ),
            "failure",
        )
    if isinstance(code, str) and code in ERROR_KINDS and isinstance(body.get("error"), str):
        if code == "not_found":  # the endpoint is gone there, not here
            code = "unavailable"
        field = body.get("field")
        error = ModelyardError(
            _sentence(body, reply.body),
            code=code,
            field=field if isinstance(field, str) else None,
            retry_after=retry_after,
        )
        return Refused(error, _VERDICTS.get(code, "unknown"))
    code = _CODES.get(reply.status, "internal" if reply.status >= 400 else "unavailable")
    message = f"The remote {name} answered {reply.status}: {_sentence(body, reply.body)}"
    error = ModelyardError(message, code=code, retry_after=retry_after)
    return Refused(error, _VERDICTS.get(code, "unknown"))


def retry_after_of(headers: Mapping[bytes, bytes]) -> float | None:
    """Seconds of ``Retry-After``; None without one, or for a date (which needs equal clocks)."""
    text = headers.get(b"retry-after", b"").strip()
    try:
        seconds = float(text)
    except ValueError:
        return None
    return min(seconds, MAX_RETRY_AFTER) if math.isfinite(seconds) and seconds >= 0 else None


def _object(body: bytes) -> dict[str, object]:
    try:
        value: object = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    return cast("dict[str, object]", value) if isinstance(value, dict) else {}


def _sentence(body: dict[str, object], raw: bytes) -> str:
    """What a foreign server says: V2 ``{"error": text}``, OpenAI ``{"error": {"message": …}}``, FastAPI
    ``{"detail": …}``, else the beginning of the body."""
    said: object = body.get("error", body.get("detail", body.get("message")))
    if isinstance(said, dict):
        said = cast("dict[str, object]", said).get("message")
    if isinstance(said, list):
        said = msgspec.json.encode(said).decode()
    text = said if isinstance(said, str) else raw[:_MAX_MESSAGE].decode("utf-8", "replace")
    clean = "".join(character if character.isprintable() else " " for character in text)
    return clean[:_MAX_MESSAGE].strip() or "nothing more"
