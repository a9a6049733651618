"""One call of a load: its bytes, how its answer is judged, and how long its caller stays."""

import json
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(slots=True)
class Question:
    """``request`` is the whole HTTP/1.1 request; ``right`` says of a 200's body whether it is right.

    ``kind`` names the group it is counted in. ``leave_after`` seconds the caller hangs up, whatever
    comes (None: stays). ``expects`` is the status that counts as its good answer: a poison item's is an error.
    ``weight`` is what a right answer adds to the work done (tokens, say).
    """

    request: bytes
    right: Callable[[bytes], bool]
    kind: str = "innocent"
    leave_after: float | None = None
    expects: int = 200
    weight: float = 1.0


def post(path: str, body: bytes, headers: dict[str, str] | None = None) -> bytes:
    """An HTTP/1.1 POST as it goes over the wire."""
    lines = [f"POST {path} HTTP/1.1", "host: 127.0.0.1", f"content-length: {len(body)}"]
    lines += [
        f"{name}: {value}"
        for name, value in {"content-type": "application/json", **(headers or {})}.items()
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def post_json(path: str, value: object, headers: dict[str, str] | None = None) -> bytes:
    return post(path, json.dumps(value).encode(), headers)
