"""What a push tells of itself, as a job does: stages that begin and end, and words between."""

from collections.abc import Callable

from modelyard.client.upload_flow import event
from modelyard.core.job import JobEvent


class Stages:
    """Says one stage after the other to ``on_event``."""

    def __init__(self, on_event: Callable[[JobEvent], None]) -> None:
        self.on_event = on_event
        self._stage = ""

    def begin(self, stage: str, message: str) -> None:
        self._stage = stage
        self.on_event(event("stage_started", stage, message))

    def say(self, message: str) -> None:
        """What goes on in the stage."""
        self.on_event(event("progress", self._stage, message))

    def warn(self, message: str) -> None:
        """What somebody should know afterwards, too."""
        self.on_event(event("warning", self._stage, message))

    def done(self, message: str) -> None:
        self.on_event(event("stage_done", self._stage, message))
