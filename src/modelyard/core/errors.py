"""One taxonomy of errors: every failure a user can see is one of the codes below.

    cause (raised where it is known)
      └─ ModelyardError(code) ──► protocols encode it ──► HTTP status / gRPC status / exit code 1

Nothing else maps errors to statuses. The columns are from the HTTP semantics of RFC 9110 and the
gRPC status codes (https://grpc.github.io/grpc/core/md_doc_statuscodes.html).
"""

from typing import Final, NamedTuple


class ErrorKind(NamedTuple):
    """What one code means on each protocol."""

    http: int
    grpc: int
    retryable: bool


ERROR_KINDS: Final[dict[str, ErrorKind]] = {
    "invalid_input": ErrorKind(400, 3, False),  # INVALID_ARGUMENT
    "unauthenticated": ErrorKind(401, 16, False),  # UNAUTHENTICATED
    "forbidden": ErrorKind(403, 7, False),  # PERMISSION_DENIED
    "not_found": ErrorKind(404, 5, False),  # NOT_FOUND
    "deadline": ErrorKind(504, 4, True),  # DEADLINE_EXCEEDED
    "conflict": ErrorKind(409, 10, False),  # ABORTED
    "too_large": ErrorKind(413, 3, False),  # INVALID_ARGUMENT
    "rejected_content": ErrorKind(422, 9, False),  # FAILED_PRECONDITION
    "overloaded": ErrorKind(429, 8, True),  # RESOURCE_EXHAUSTED
    "cancelled": ErrorKind(499, 1, False),  # CANCELLED
    "internal": ErrorKind(500, 13, False),  # INTERNAL
    "unavailable": ErrorKind(503, 14, True),  # UNAVAILABLE
}


class Place(NamedTuple):
    """Whose call failed, and how long after its arrival."""

    endpoint: str
    version: int
    seconds: float


class ModelyardError(Exception):
    """A failure with one of the codes of :data:`ERROR_KINDS` and a sentence for a person.

    ``message`` says what is wrong and what to do; ``field`` names the offending part of the input
    (``inputs[0].shape``); ``retry_after`` is in seconds.
    """

    code: str = "internal"
    place: Place | None = None  # noted on its way out, for the log

    def __init__(
        self,
        message: str,
        *,
        field: str | None = None,
        retry_after: float | None = None,
        code: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        self.retry_after = retry_after
        if code is not None:
            if code not in ERROR_KINDS:
                raise ValueError(f"{code!r} is not an error code of Modelyard")
            self.code = code

    @property
    def kind(self) -> ErrorKind:
        """The statuses that this error has on each protocol."""
        return ERROR_KINDS[self.code]

    def body(self, request_id: str) -> dict[str, object]:
        """The JSON object that every REST surface answers with."""
        body: dict[str, object] = {"error": self.message, "code": self.code}
        if self.field is not None:
            body["field"] = self.field
        body["retryable"] = self.kind.retryable
        body["request_id"] = request_id
        return body


class InvalidInput(ModelyardError):
    """The caller sent something that cannot be right; ``field`` says where."""

    code = "invalid_input"


class Unauthenticated(ModelyardError):
    """No key, or a key that is not known."""

    code = "unauthenticated"


class Forbidden(ModelyardError):
    """A known caller asked for what it may not do."""

    code = "forbidden"


class NotFound(ModelyardError):
    """The named thing does not exist."""

    code = "not_found"


class Deadline(ModelyardError):
    """The caller's time ran out before the answer was there."""

    code = "deadline"


class Conflict(ModelyardError):
    """The request does not fit the present state."""

    code = "conflict"


class TooLarge(ModelyardError):
    """A body or a file over its limit."""

    code = "too_large"


class RejectedContent(ModelyardError):
    """A well-formed request whose content we refuse: corrupt, unsupported, unsafe."""

    code = "rejected_content"


class Overloaded(ModelyardError):
    """The queue is full; ``retry_after`` says when to come back."""

    code = "overloaded"


class Cancelled(ModelyardError):
    """The caller left."""

    code = "cancelled"


class Internal(ModelyardError):
    """Our fault, or the model's: the message says whose."""

    code = "internal"


class Unavailable(ModelyardError):
    """Known, but not able to answer now."""

    code = "unavailable"
