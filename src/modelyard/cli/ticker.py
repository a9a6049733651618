"""One changing line of progress at a terminal; elsewhere a plain line for each new text, and of those that differ in
their figures alone one every few seconds."""

import contextlib
import re
import sys
import time

_FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_EVERY = 5.0  # seconds between plain lines that differ in figures


class Ticker:
    """Shows the latest text with a spinner and the seconds since the start, on stderr; clears it at the end."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._terminal = sys.stderr.isatty()
        self._begin = time.monotonic()
        self._last = ""
        self._told = self._begin
        self._frame = 0

    def __enter__(self) -> "Ticker":
        return self

    def __exit__(self, *stopped: object) -> None:
        if self._terminal and self._last and not self._quiet:
            sys.stderr.write("\r\x1b[2K")
            sys.stderr.flush()

    def show(self, text: str) -> None:
        """Show ``text``; called often with the same, it only moves the spinner."""
        if self._quiet:
            return
        with contextlib.suppress(BrokenPipeError):
            if self._terminal:
                self._frame += 1
                seconds = time.monotonic() - self._begin
                mark = _FRAMES[self._frame % len(_FRAMES)]
                sys.stderr.write(f"\r\x1b[2K{mark} {text} … {seconds:.1f} s")
                sys.stderr.flush()
                self._last = text
            elif text != self._last and (
                _form(text) != _form(self._last) or time.monotonic() - self._told >= _EVERY
            ):
                print(f"{text} …", file=sys.stderr, flush=True)
                self._last, self._told = text, time.monotonic()


def _form(text: str) -> str:
    return re.sub(r"\d+", "0", text)
