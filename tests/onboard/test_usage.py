"""From the examples of a project to the call that is served."""

import pytest

from modelyard.onboard import Answers
from modelyard.onboard.usage import Usage
from support.projects import MOODY, Project, looked


def usage_of(project: Project, readme: str, answers: Answers | None = None) -> Usage:
    found = looked(project({**MOODY, "README.md": readme + " " * 300}), answers or Answers())
    assert found.usage is not None
    return found.usage


def test_an_object_is_made_once_and_called_for_each_text(project: Project):
    usage = usage_of(
        project,
        """
        # moody
        ```python
        from moody import Analyzer, score

        analyzer = Analyzer(language="en")
        mood = analyzer.analyze("what a good day")
        print(mood.label, mood.score)
        ```
        """,
    )
    assert usage.imports == ("from moody import Analyzer",)
    assert usage.setup == ("self.analyzer = Analyzer(language='en')",)
    assert usage.body == ("mood = self.analyzer.analyze(text)",)
    assert usage.result == "{'label': mood.label, 'score': mood.score}"
    assert [(each.name, each.annotation, each.example) for each in usage.inputs] == [
        ("text", "str", "what a good day")
    ]


def test_a_loop_over_examples_gives_the_first(project: Project):
    usage = usage_of(
        project,
        """
        ```python
        from moody import Analyzer
        sentences = ["a good day", "a bad day"]
        analyzer = Analyzer()
        for sentence in sentences:
            mood = analyzer.analyze(sentence)
            print("{:-<65} {}".format(sentence, str(mood)))
        ```
        """,
    )
    assert usage.inputs[0].name == "sentence"
    assert usage.inputs[0].example == "a good day"
    assert usage.result == "mood"


def test_prompts_and_outputs(project: Project):
    usage = usage_of(
        project,
        """
        Usage
        -----

            >>> from moody import score
            >>> score("so good", weight=2.0)
            2.0
        """,
    )
    assert usage.target == "moody.score"
    assert usage.result == "score(text, weight=weight)"
    assert [(each.name, each.default) for each in usage.inputs] == [("text", None), ("weight", "2.0")]


def test_the_words_around_what_is_printed_do_not_count(project: Project):
    usage = usage_of(
        project,
        """
        ```py
        import moody
        text = "good good"
        print(f"The mood of {text} is {moody.score(text)}!")
        ```
        """,
    )
    assert usage.result == "moody.score(text)"
    assert usage.inputs[0].example == "good good"


def test_a_block_that_is_no_python_is_left_out_and_the_rest_of_it_is_read(project: Project):
    usage = usage_of(
        project,
        """
        ```
        $ pip install moody
        from moody import score
        score("good")
        ... and so on!
        ```
        """,
    )
    assert usage.result == "score(text)"


def test_training_is_not_what_is_served(project: Project):
    files = {
        **MOODY,
        "moody/core.py": """
            class Analyzer:
                def train(self, texts): ...
                def predict(self, texts): ...
            """,
        "moody/__init__.py": "from moody.core import Analyzer",
        "README.md": """
            ```python
            from moody import Analyzer
            model = Analyzer()
            model.train(["a good day", "a bad one"])
            model.predict(["a day"])
            ```
            """ + " " * 300,
    }  # fmt: skip
    found = looked(project(files))
    assert found.usage is not None
    assert found.usage.target.endswith("predict")
    assert found.usage.inputs[0].annotation == "list[str]"


def test_a_file_is_given_as_bytes_and_handed_on_by_its_path(project: Project):
    files = {
        **MOODY,
        "moody/__init__.py": "def transcribe(path):\n    return path\n",
        "samples/hello.wav": b"RIFF\x00\xff",
        "README.md": """
            ```python
            import moody
            audio_path = "samples/hello.wav"
            text = moody.transcribe(audio_path)
            print(text)
            ```
            """ + " " * 300,
    }  # fmt: skip
    found = looked(project(files))
    assert found.usage is not None
    (audio,) = found.usage.inputs
    assert (audio.name, audio.annotation, audio.suffix) == ("audio", "bytes", ".wav")
    assert found.example == {"audio": {"b64": "UklGRgD/"}}
    assert not found.report.questions


def test_a_file_that_is_not_there_is_asked_for(project: Project):
    files = {
        **MOODY,
        "moody/__init__.py": "def transcribe(path):\n    return path\n",
        "README.md": "```python\nimport moody\nprint(moody.transcribe('talk.mp3'))\n```\n" + " " * 300,
    }
    found = looked(project(files))
    (question,) = found.report.questions
    assert question.about == "example.audio"
    assert "--example audio=@FILE.mp3" in question.answer
    answered = looked(project(files), Answers(examples={"audio": {"b64": "aGk="}}))
    assert answered.report.ready


def test_what_only_the_code_says_is_a_guess_and_is_asked(project: Project):
    files = {**MOODY, "README.md": "# moody\n\nIt reads moods. " + "Nothing shows how. " * 20}
    found = looked(project(files))
    abouts = {question.about for question in found.report.questions}
    assert "call" in abouts
    assert not found.report.ready
    chosen = looked(project(files), Answers(call="score", examples={"text": "good"}))
    assert chosen.report.ready
    assert chosen.usage is not None
    assert chosen.usage.target == "moody.score"


def test_a_call_that_is_not_there_is_told_with_those_that_are(project: Project):
    files = {**MOODY, "README.md": "```python\nfrom moody import score\nscore('good')\n```" + " " * 300}
    with pytest.raises(Exception, match=r"1\. score\('good'\)"):
        looked(project(files), Answers(call="nonsense"))


def test_an_array_made_for_show_becomes_an_input(project: Project):
    files = {
        **MOODY,
        "moody/__init__.py": "def predict(x):\n    return x.sum()\n",
        "README.md": """
            ```python
            import numpy as np
            import moody
            x = np.random.rand(2, 3)
            moody.predict(x)
            ```
            """ + " " * 300,
    }  # fmt: skip
    found = looked(project(files))
    assert found.usage is not None
    assert found.usage.result == "moody.predict(np.asarray(x, dtype='float32'))"
    assert found.usage.inputs[0].annotation == "list[list[float]]"


def test_statements_that_prepare_an_object_are_kept(project: Project):
    files = {
        **MOODY,
        "moody/__init__.py": """
            class Speller:
                def load_dictionary(self, path): ...
                def correct(self, word): ...
            """,
        "words.txt": "good 1",
        "README.md": """
            ```python
            from moody import Speller
            speller = Speller()
            speller.load_dictionary("words.txt")
            print(speller.correct("goood"))
            ```
            """ + " " * 300,
    }  # fmt: skip
    found = looked(project(files))
    assert found.usage is not None
    assert found.usage.setup == (
        "self.speller = Speller()",
        "self.speller.load_dictionary(str(folder / 'words.txt'))",
    )
    assert found.usage.files == ("words.txt",)


def test_the_data_may_be_in_the_object_that_is_called(project: Project):
    files = {
        **MOODY,
        "moody/__init__.py": """
            class Document:
                def __init__(self, text): ...
                def keywords(self, limit=5): ...
            """,
        "README.md": """
            ```python
            from moody import Document
            d = Document("what a good day")
            d.keywords(3)
            ```
            """,
    }  # fmt: skip
    found = looked(project(files))
    assert found.usage is not None
    assert [(each.name, each.default) for each in found.usage.inputs] == [("text", None), ("limit", "3")]
    assert found.usage.body == ("d = Document(text)",)


def test_what_is_made_inline_is_made_once(project: Project):
    found = looked(
        project(
            {
                **MOODY,
                "README.md": "```python\nfrom moody import Analyzer\nAnalyzer('en').analyze('a day')\n```",
            }
        )
    )
    assert found.usage is not None
    assert found.usage.setup == ("self.analyzer = Analyzer('en')",)
    assert found.usage.result == "self.analyzer.analyze(text)"


def test_prompts_may_go_on_without_dots(project: Project):
    readme = '>>> from moody import score\n>>> text = (\n    "so "\n    "good"\n)\n>>> score(text)\n1\n'
    found = looked(project({**MOODY, "README.md": f"```python\n{readme}```"}))
    assert found.example == {"text": "so good"}


def test_a_demonstration_at_the_end_of_a_module(project: Project):
    core = (
        MOODY["moody/core.py"]
        + """
        if __name__ == "__main__":
            for sentence in ["a good day", "a bad day"]:
                print(Analyzer().analyze(sentence))
        """
    )
    found = looked(project({**MOODY, "moody/core.py": core}))
    assert found.usage is not None
    assert found.usage.imports == ("from moody.core import Analyzer",)
    assert found.example == {"sentence": "a good day"}


def test_what_the_project_needs_to_have_been_called_first_is_called_once(project: Project):
    """Also when another example of the same page calls it."""
    usage = usage_of(
        project,
        """
        ```python
        >>> from moody import load, score
        >>> load()
        >>> score("a good day")
        1.0
        ```

        And again:

        ```python
        >>> score("a bad day, said the man")
        -1.0
        ```
        """,
    )
    assert usage.imports == ("from moody import load, score",)
    assert usage.setup == ("load()",)
    assert usage.result == "score(text)"


RISK = """
def risk(codes, age, sex="F", known=None, *, region):
    return 1


def passed_on(codes, **person):
    return risk(codes, **person)
"""


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ('risk(["E11"], 67, region="north")', {"codes": None, "age": None, "region": None}),
        ('risk(["E11"], 67, sex="M", region="north")', {"codes": None, "age": None, "sex": "'M'", "region": None}),
        ('risk(["E11"], 67, "M", ["I10"], region="north")', {"codes": None, "age": None, "sex": "'M'", "known": "None", "region": None}),
        ('passed_on(["E11"], age=67)', {"codes": None, "age": None}),
    ],
    ids=["required", "a setting", "data that may be left out", "passed on"],
)  # fmt: skip
def test_what_the_function_asks_for_has_to_be_given(
    project: Project, call: str, expected: dict[str, str | None]
):
    readme = f"```python\nfrom moody import passed_on, risk\nprint({call})\n```\n" + " " * 300
    found = looked(project({**MOODY, "moody/__init__.py": RISK, "README.md": readme}))
    assert found.usage is not None
    assert {each.name: each.default for each in found.usage.inputs} == expected
    assert all(found.example[name] for name, default in expected.items() if default != "'M'")


@pytest.mark.parametrize(
    ("written", "annotation"),
    [
        ("'<array of the image>'", "object"),
        ("'YOUR_SEQUENCE_HERE'", "object"),
        ("[0.5, 0.25, ...]", "object"),
        ("Path('path_to_an_audio_file')", "bytes"),
    ],
    ids=["brackets", "capitals", "dots", "path"],
)
def test_what_the_reader_is_to_put_there_is_no_example(project: Project, written: str, annotation: str):
    files = {
        **MOODY,
        "moody/__init__.py": "def predict(data):\n    return data\n",
        "README.md": f"```python\nfrom pathlib import Path\nimport moody\ndata = {written}\nprint(moody.predict(data))\n```\n"
        + " " * 300,
    }
    found = looked(project(files))
    assert found.usage is not None
    assert found.usage.inputs[0].annotation == annotation
    assert found.report.questions[-1].about == "example.data"
    assert not found.example
