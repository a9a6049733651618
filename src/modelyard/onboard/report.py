"""What was found out about a model, how sure that is, and what has to be asked."""

from typing import Literal

from modelyard.core.struct import Noun

Confidence = Literal["sure", "likely", "guess"]


class Finding(Noun):
    """One thing that was found out: what it is about, what it is, how sure, and where it was read."""

    about: str
    value: str
    confidence: Confidence
    reason: str


class Question(Noun):
    """What could not be found out. ``answer`` is the option of ``modelyard add`` that answers it."""

    about: str
    text: str
    answer: str
    choices: tuple[str, ...] = ()


class Report(Noun):
    """All of it. ``ready``: the files of a model can be written, because no question is open."""

    source: str
    name: str
    findings: tuple[Finding, ...]
    questions: tuple[Question, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def ready(self) -> bool:
        return not self.questions
