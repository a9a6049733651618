"""Server-sent events, as the control plane tells a job's story.

Source: https://html.spec.whatwg.org/multipage/server-sent-events.html (parsing an event stream).
"""


class EventParser:
    """Takes lines one at a time and gives the data of an event at the empty line that ends it."""

    def __init__(self) -> None:
        self._data: list[str] = []

    def feed(self, line: str) -> str | None:
        """The data of the event that ``line`` completes, else None. Comments keep a line alive only."""
        if line == "":
            data, self._data = "\n".join(self._data), []
            return data or None
        field, _, value = line.partition(":")
        if field == "data":
            self._data.append(value.removeprefix(" "))
        return None
