"""A model that nobody has onboarded: looked at without running anything of it, written down, tried.

source ──► material (its files, here) ──► project (who it is, what it needs)
                                    └──► code (its modules, as syntax)
                                    └──► snippets ──► flow ──► usage (how one calls it)
all of that ──► look: a report, with what was not found out as questions ──► writing ──► trial
"""

from modelyard.onboard.added import Added, recall, remember, taken_as_it_is, written
from modelyard.onboard.look import Answers, Look, look
from modelyard.onboard.material import Material, bring
from modelyard.onboard.report import Finding, Question, Report
from modelyard.onboard.trial import Trial, attempt
from modelyard.onboard.writing import put_in_place, write

__all__ = [
    "Added",
    "Answers",
    "Finding",
    "Look",
    "Material",
    "Question",
    "Report",
    "Trial",
    "attempt",
    "bring",
    "look",
    "put_in_place",
    "recall",
    "remember",
    "taken_as_it_is",
    "write",
    "written",
]
