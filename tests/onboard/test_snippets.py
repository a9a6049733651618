"""Python out of prose."""

import ast

import pytest

from modelyard.onboard.snippets import _of_notebook, _of_prose, pieces_of
from support.projects import MOODY, Project, looked

CASES = {
    "fence": ("text\n```python\nx = 1\ny = f(x)\n```\nmore\n```bash\npip install x\n```\n", ["x = 1", "y = f(x)"]),
    "indented fence": ("1. so:\n\n   ```py\n   f(1)\n   ```\n", ["f(1)"]),
    "tilde fence, attributes": ("~~~ {.python}\nf(1)\n~~~\n", ["f(1)"]),
    "prompts with outputs": ("```pycon\n>>> x = [\n...     1]\n[1]\n>>> f(x)\n'no python: )'\n```\n", ["x = [1]", "f(x)"]),
    "rst directive": ("Usage\n=====\n\n.. code-block:: python\n   :linenos:\n\n   f(1)\n\nend\n", ["f(1)"]),
    "rst other language": (".. code-block:: bash\n\n   f(1)\n", []),
    "rst literal": ("Like this::\n\n    import a\n    a.f(1)\n\nend\n", ["import a", "a.f(1)"]),
    "plain prompts": ("So:\n\n>>> f(1)\n2\n\nend\n", ["f(1)"]),
    "indented imports": ("So:\n\n    from a import f\n    f(1)\n\nend\n", ["from a import f", "f(1)"]),
    "shell in python": ("```python\n!pip install a\n%matplotlib inline\nf(1)\n```\n", ["f(1)"]),
    "elisions": ("```python\nf(1)\n... more ...\ng(\n    2,\n)\nfor x in y:\n    h(x)\n\n    k(x)\n<output>\n```\n",
                 ["f(1)", "g(2)", "for x in y:\n    h(x)\n    k(x)"]),
    "nothing": ("no code here\n", []),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_statements_of(case: str):
    text, expected = CASES[case]
    found = [ast.unparse(piece.node) for piece in _of_prose(text)]
    assert [each for each in dict.fromkeys(found)] == expected  # noqa: C416


def test_lines_are_those_of_the_text():
    pieces = list(_of_prose("a\n\n```python\nx = 1\n\nf(x)  # -> 3\n```\n"))
    assert [(piece.line, piece.shown) for piece in pieces] == [(4, False), (6, True)]


def test_what_a_prompt_answered_is_shown():
    pieces = list(pieces_of(">>> x = 1\n>>> f(x)\n2\n>>> g(x)", 1))
    assert [piece.shown for piece in pieces] == [False, True, False]


def test_a_notebook():
    text = '{"cells": [{"cell_type": "markdown", "source": "x"}, {"cell_type": "code", "source": ["a = 1\\n", "f(a)"]}]}'
    assert [ast.unparse(piece.node) for piece in _of_notebook(text)] == ["a = 1", "f(a)"]


@pytest.mark.parametrize(
    "text",
    ["```python\n" + "[" * 2000, "```" * 5000, ">>> " * 3000, "\x00```python\n\x00\n```", "::\n" * 3000],
)
def test_rubbish_gives_nothing_and_ends(text: str):
    list(_of_prose(text))


@pytest.mark.timeout(30)
def test_fences_that_are_never_closed_are_read_in_one_go(project: Project):
    unclosed = "```python\n" * 20_000
    closed = "~~~~ {.python}\nfrom moody import score\nscore('so good')\n~~~~\n"
    found = looked(project({**MOODY, "README.md": unclosed + closed}))
    assert found.usage is not None
    assert found.usage.place == "README.md:20003"
