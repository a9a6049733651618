"""Where progress is drawn: on a terminal by Rich, in a notebook by what shows its outputs. Lines that stay, and one bar that moves."""

import html
import sys
import time
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from rich.progress import TaskID

_OFTEN = 0.1  # seconds between two drawings of a notebook


class Drawing(Protocol):
    """One at a time is drawn upon. ``total`` is None while nobody knows how much there is."""

    def line(self, text: str) -> None: ...

    def bar(self, title: str, current: float | None, total: float | None, figures: str) -> None:
        """Begin the bar, or move it."""
        ...

    def no_bar(self) -> None: ...

    def stop(self) -> None: ...


def in_notebook() -> bool:
    """Whether what runs here is shown by a notebook."""
    return "ipykernel" in sys.modules and "IPython" in sys.modules


class TerminalDrawing:
    """On the standard error, from ``start`` on. Imports Rich."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        self._bars: Progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            TextColumn("{task.fields[figures]}"),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._bar: TaskID | None = None

    def start(self) -> None:
        self._bars.start()

    def line(self, text: str) -> None:
        self._bars.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def bar(self, title: str, current: float | None, total: float | None, figures: str) -> None:
        if self._bar is None:
            self._bar = self._bars.add_task(title, total=total, figures=figures)
        self._bars.update(self._bar, completed=current, total=total, figures=figures)

    def no_bar(self) -> None:
        if self._bar is not None:
            self._bars.remove_task(self._bar)
        self._bar = None

    def stop(self) -> None:
        self.no_bar()
        self._bars.stop()


class NotebookDrawing:
    """One output of a cell, shown anew as it changes; needs no widgets."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._moving = ""
        self._shown: Any = None
        self._at = 0.0

    def line(self, text: str) -> None:
        self._lines.append(html.escape(text))
        self._show()

    def bar(self, title: str, current: float | None, total: float | None, figures: str) -> None:
        begun = self._moving == ""
        known = "" if not total or current is None else f' max="{total:.0f}" value="{current:.0f}"'
        self._moving = f"<progress{known}></progress> {html.escape(title)} {html.escape(figures)}"
        if begun or time.monotonic() - self._at > _OFTEN:
            self._show()

    def no_bar(self) -> None:
        self._moving = ""

    def stop(self) -> None:
        self._moving = ""
        self._show()

    def _show(self) -> None:
        from IPython.display import HTML, display

        self._at = time.monotonic()
        told = "\n".join([*self._lines, *([self._moving] if self._moving else [])])
        page = HTML(f"<pre>{told}</pre>")
        if self._shown is None:
            self._shown = display(page, display_id=True)
        else:
            self._shown.update(page)
