"""Draws a job's events: one line per stage with its time, a bar while bytes move, a spinner meanwhile.

At a terminal Rich draws what goes on, once it has gone on for long enough to be seen; an identical
deploy is over before Rich would be imported. A notebook shows the same in the cell's output. Elsewhere each stage is
a plain line when it is done.
"""

import sys
import threading
import time
from types import TracebackType

from modelyard.client.drawing import Drawing, NotebookDrawing, TerminalDrawing, in_notebook
from modelyard.core.job import JobEvent
from modelyard.core.units import format_bytes, format_seconds

_PATIENCE = 0.3  # seconds without an end after which the drawing begins
_TITLES = {
    "save": "save", "compare": "compare", "hash": "read", "upload": "upload", "download": "download", "fetch": "fetch", "register": "analyze", "environment": "environment",
    "start": "start", "ready": "first prediction", "route": "traffic",
}  # fmt: skip
_WIDTH = max(len(title) for title in _TITLES.values())


class StageProgress:
    """Give it every event of one job; use it as a context manager."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._notebook = in_notebook()
        self._terminal = not self._notebook and sys.stderr.isatty()
        self._lock = threading.Lock()
        self._begun: dict[str, float] = {}
        self._stage: JobEvent | None = None
        self._note = ""
        self._timer: threading.Timer | None = None
        self._drawing: Drawing | None = None

    def __enter__(self) -> "StageProgress":
        if self._notebook and not self._quiet:
            self._drawing = NotebookDrawing()
        elif self._terminal and not self._quiet:
            self._timer = threading.Timer(_PATIENCE, self._draw)
            self._timer.daemon = True
            self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
        with self._lock:
            self._timer = None
            self._quiet = True
            if self._drawing is not None:
                self._drawing.stop()

    def show(self, event: JobEvent) -> None:
        """Take note of an event."""
        with self._lock:
            if self._quiet:
                return
            stage = event.stage or ""
            if event.kind == "stage_started":
                self._begun.setdefault(stage, event.time)
                self._stage, self._note = event, event.message
                self._no_bar()
                self._bar(event)
            elif event.kind == "progress":
                self._stage = event
                if event.total is None:
                    self._note = event.message
                self._bar(event)
            elif event.kind == "stage_done":
                self._no_bar()
                self._stage = None
                begun = self._begun.get(stage)
                took = format_seconds(max(0.0, event.time - begun)) if begun is not None else ""
                self._line(
                    f"{_mark('✓', 32)} {_title(stage).ljust(_WIDTH)}  {took.rjust(10)}  {self._told(event)}"
                )
            elif event.kind == "warning":
                self._line(f"{_mark('!', 33)} {event.message}")
            elif event.kind in ("failed", "cancelled"):
                self._no_bar()
                at = self._stage.stage if self._stage is not None else event.stage
                self._line(f"{_mark('✗', 31)} {_title(at or 'job')}")

    def _told(self, event: JobEvent) -> str:
        begun = self._begun.get(event.stage or "")
        if event.stage in ("hash", "upload") and event.total and begun is not None:
            speed = event.total / max(event.time - begun, 1e-3)
            return f"{event.message}, {format_bytes(int(event.total))}, {format_bytes(int(speed))}/s"
        return event.message

    def _line(self, text: str) -> None:
        if self._drawing is not None:
            self._drawing.line(text)
        else:
            print(text.rstrip(), file=sys.stderr, flush=True)

    def _draw(self) -> None:
        """The timer's: it has become long, import Rich and draw what goes on."""
        drawing = TerminalDrawing()
        with self._lock:
            if self._quiet or self._timer is None:
                return
            drawing.start()
            self._drawing = drawing
            if self._stage is not None:
                self._bar(self._stage)

    def _bar(self, event: JobEvent) -> None:
        if self._drawing is None:
            return
        figures = self._note
        if event.kind == "progress" and event.total is not None and event.current is not None:
            figures = event.message
            if event.message == "bytes":
                seconds = max(time.time() - self._begun.get(event.stage or "", time.time()), 1e-3)
                figures = (
                    f"{format_bytes(int(event.current))} of {format_bytes(int(event.total))}, "
                    f"{format_bytes(int(event.current / seconds))}/s"
                )
        self._drawing.bar(_title(event.stage or ""), event.current, event.total, figures)

    def _no_bar(self) -> None:
        if self._drawing is not None:
            self._drawing.no_bar()


def _title(stage: str) -> str:
    return _TITLES.get(stage, stage)


def _mark(sign: str, color: int) -> str:
    return f"\x1b[{color}m{sign}\x1b[0m" if sys.stderr.isatty() and not in_notebook() else sign
