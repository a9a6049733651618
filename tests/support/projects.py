"""Small projects, as people publish them."""

import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from modelyard.onboard import Answers, Look, bring, look

Project = Callable[..., Path]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Writes files (path → text) into a folder and gives it."""

    def make(files: dict[str, str | bytes], name: str = "moody") -> Path:
        folder = tmp_path / name
        for path, text in files.items():
            place = folder / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(text if isinstance(text, bytes) else textwrap.dedent(text).encode())
        return folder

    return make


def looked(folder: Path, answers: Answers = Answers()) -> Look:  # noqa: B008 - immutable
    """What is found out about a folder."""
    return look(str(folder), bring(str(folder), folder.parent, progress=lambda _: None), answers)


MOODY = {
    "moody/__init__.py": '''
        """Moods of sentences."""

        from moody.core import Analyzer, score

        __all__ = ["Analyzer", "score"]
        ''',
    "moody/core.py": '''
        import json
        import os
        from dataclasses import dataclass


        @dataclass
        class Mood:
            label: str
            score: float


        def score(text: str, weight: float = 1.0, words: list | None = None) -> float:
            """How good the mood of a text is."""
            return weight * (text.count("good") - text.count("bad"))


        class Analyzer:
            """Reads moods."""

            def __init__(self, language="en"):
                path = os.path.join(os.path.dirname(__file__), "words.json")
                with open(path) as file:
                    self.words = json.load(file)[language]

            def analyze(self, text):
                """The mood of a text."""
                found = sum(self.words.get(word, 0) for word in text.lower().split())
                return Mood("good" if found >= 0 else "bad", found)
        ''',
    "moody/words.json": '{"en": {"good": 1, "bad": -1}, "de": {"gut": 1}}',
    "pyproject.toml": """
        [project]
        name = "moody"
        version = "1.2.0"
        description = "Moods of sentences."
        license = {text = "MIT"}
        dependencies = []
        """,
}  # fmt: skip
