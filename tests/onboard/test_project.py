"""Who a project is and what it needs."""

import os

import pytest

from modelyard.analyze import analyze
from modelyard.core.errors import InvalidInput
from modelyard.onboard import Answers, bring, write
from modelyard.onboard.project import Need, read_project
from modelyard.store.files import FolderFiles
from support.projects import MOODY, Project, looked


def needs(folder) -> tuple[Need, ...]:
    return read_project(bring(str(folder), folder.parent, progress=lambda _: None)).needs


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"pyproject.toml": '[project]\nname = "a"\ndependencies = ["numpy>=1", "torch; extra == \'gpu\'"]'}, ["numpy>=1"]),
        ({"pyproject.toml": '[tool.poetry]\nname = "a"\n[tool.poetry.dependencies]\npython = "^3.9"\nnumpy = "^1.21"\ntqdm = "~4.6"\nx = {version = "*", optional = true}'},
         ["numpy<2,>=1.21", "tqdm<4.7,>=4.6"]),
        ({"setup.py": "from setuptools import setup\nneeds = ['numpy', 'scipy>=1.2']\nsetup(name='a', install_requires=needs)"}, ["numpy", "scipy>=1.2"]),
        ({"setup.cfg": "[metadata]\nname = a\n[options]\ninstall_requires =\n    numpy\n    tqdm>4\n"}, ["numpy", "tqdm>4"]),
        ({"requirements.txt": "# what it needs\nnumpy==1.26.0  # arrays\n-r other.txt\ngit+https://example.org/x.git\n--index-url https://example.org\n"}, ["numpy==1.26.0"]),
        ({"environment.yml": "dependencies:\n  - python=3.10\n  - conda-forge::numpy=1.26\n  - pytorch\n  - pip:\n    - tqdm>4\n"}, ["numpy==1.26", "torch", "tqdm>4"]),
        ({"Dockerfile": "FROM python\nRUN pip install --no-cache-dir numpy 'tqdm>4' && pip install -r x.txt\n"}, ["numpy", "tqdm>4"]),
        ({"a.egg-info/requires.txt": "numpy\n\n[dev]\npytest\n"}, ["numpy"]),
    ],
    ids=["pyproject", "poetry", "setup.py", "setup.cfg", "requirements.txt", "conda", "Dockerfile", "egg-info"],
)  # fmt: skip
def test_what_it_needs(project: Project, files: dict[str, str], expected: list[str]):
    assert [need.line for need in needs(project({**files, "a.py": "x = 1"}))] == expected


def test_what_is_imported_and_not_listed_is_needed(project: Project):
    found = looked(
        project(
            {
                "moody/__init__.py": "import cv2\nimport json\nfrom sklearn.svm import SVC\ntry:\n    import torch\nexcept ImportError:\n    torch = None\n",
                "README.md": "moody",
            }
        )
    )
    assert [need.line for need in found.requirements] == ["opencv-python-headless", "scikit-learn"]
    assert "imports cv2, and" in found.requirements[0].reason


@pytest.mark.parametrize(
    ("files", "spdx", "confidence"),
    [
        ({"LICENSE": "MIT License\n\nPermission is hereby granted, free of charge, to any person obtaining a copy of this"}, "MIT", "sure"),
        ({"LICENSE.txt": "   Apache License\n   Version 2.0, January 2004"}, "Apache-2.0", "sure"),
        ({"pyproject.toml": '[project]\nname = "a"\nlicense = {text = "BSD-3-Clause"}'}, "BSD-3-Clause", "likely"),
        ({"pyproject.toml": '[project]\nname = "a"\nlicense = {text = "License :: OSI Approved :: MIT License"}'}, "MIT", "likely"),
    ],
    ids=["MIT", "Apache", "only said", "a classifier"],
)  # fmt: skip
def test_its_licence(project: Project, files: dict[str, str], spdx: str, confidence: str):
    found = looked(project({**files, "a.py": "x = 1"}))
    licences = [each for each in found.report.findings if each.about == "licence"]
    assert [(each.value, each.confidence) for each in licences] == [(spdx, confidence)]


def test_no_licence_is_none_not_a_guess(project: Project):
    found = looked(project({"a.py": "x = 1", "README.md": "free for all of you"}))
    assert not [each for each in found.report.findings if each.about == "licence"]


def test_nothing_of_it_is_run(project: Project, tmp_path):
    trap = f"open({str(tmp_path / 'sprung')!r}, 'w')\n"
    files = {
        "setup.py": trap,
        "moody/__init__.py": trap,
        "conftest.py": trap,
        "README.md": f"```python\n{trap}```\n",
    }
    looked(project({**MOODY, **files}))
    assert not (tmp_path / "sprung").exists()


@pytest.mark.timeout(30)
@pytest.mark.parametrize("name", ["README.md", "setup.py", "Dockerfile", "a.py"])
def test_what_is_no_file_is_not_waited_for(project: Project, name: str):
    folder = project({"b.py": "x = 1"})
    os.mkfifo(folder / name)
    assert looked(folder).report.questions


def test_rubbish_is_left_out(project: Project):
    found = looked(
        project(
            {
                "pyproject.toml": "this is [not toml",
                "setup.cfg": "neither\nis this\x00",
                "setup.py": "def (",
                "requirements.txt": b"\xff\xfe\x00numpy",
                "environment.yml": "a: *b",
                "moody/__init__.py": "def (",
                "moody/deep.py": "(" * 5000,
                "README.md": "```python\n" + "[" * 3000 + "\n```\n```python\nx = \n",
                "notebook.ipynb": '{"cells": 3}',
            }
        )
    )
    assert found.report.questions
    assert any("TOML" in warning for warning in found.report.warnings)


def test_of_a_package_only_what_is_used_counts(project: Project):
    """A module for training that nobody imports adds nothing to the environment."""
    found = looked(
        project(
            {
                "moody/__init__.py": "from moody.core import score",
                "moody/core.py": "import numpy\nimport cPickle\nimport _speedups\n\ndef score(text):\n    return 1\n",
                "moody/training.py": "import tensorflow\n",
                "README.md": "```python\nfrom moody import score\nprint(score('a day'))\n```\n",
            }
        )
    )
    assert [need.line for need in found.requirements] == ["numpy"]


def test_a_box_of_tools_is_asked_which_one(project: Project):
    tools = "".join(
        f'def convert_{n}(text):\n    """Convert.\n\n    >>> convert_{n}("a b")\n    1\n    """\n    return 1\n\n\n'
        for n in range(6)
    )
    found = looked(project({"moody/__init__.py": tools, "README.md": "Tools."}))
    (question,) = found.report.questions
    assert question.about == "call"
    assert len(question.choices) == 6


def test_a_list_that_is_there_is_believed(project: Project):
    """What is called a little differently, or is nobody's known package, is not asked for again."""
    found = looked(
        project(
            {
                "moody/__init__.py": "import pycrfsuite, PIL, numpy, mystery\n\ndef score(text):\n    return 1\n",
                "requirements.txt": "python-crfsuite\nPillow>=9\n",
                "README.md": "```python\nfrom moody import score\nprint(score('a day'))\n```\n",
            }
        )
    )
    assert [need.line for need in found.requirements] == ["python-crfsuite", "Pillow>=9", "numpy"]


def test_a_requirement_that_is_none_is_told(project: Project):
    with pytest.raises(InvalidInput, match="is not a requirement"):
        looked(project({**MOODY, "README.md": ""}), Answers(requirements=("numpy >> 3",)))


DOCKERFILE = """
FROM python:3.10
RUN apt-get update && apt-get install -y --no-install-recommends \\
    ffmpeg libgl1=1.6.0 \\
    # what it is built with
    build-essential libsndfile1-dev && rm -rf /var/lib/apt/lists/*
RUN DEBIAN_FRONTEND=noninteractive apt -qq install "libsndfile1" ffmpeg; apt-get clean
RUN apt-get install -y $EXTRA
"""


def test_system_packages_of_a_dockerfile_are_put_into_model_yaml(project: Project, tmp_path):
    found = looked(project({**MOODY, "Dockerfile": DOCKERFILE, "README.md": README}))
    assert [need.line for need in found.project.system_packages] == ["ffmpeg", "libgl1", "libsndfile1"]
    assert any("build-essential, libsndfile1-dev" in warning for warning in found.report.warnings)
    assert ("system", "ffmpeg, libgl1, libsndfile1") in [(f.about, f.value) for f in found.report.findings]
    write(found, tmp_path / "model")
    analysis = analyze(FolderFiles(tmp_path / "model"))
    assert analysis.system_packages == ("ffmpeg", "libgl1", "libsndfile1")


README = "```python\nfrom moody import score\nscore('so good')\n```\n" + " " * 300


@pytest.mark.parametrize(
    ("asked", "written", "doubt"),
    [
        (">=3.8", None, False),
        (">=3.9,<3.10", ">=3.9,<3.10", False),
        (">=2.7,<3.6", None, True),
        ("three", None, True),
    ],
)
def test_its_python_is_heeded_where_the_running_one_does_not_fulfil_it(
    project: Project, tmp_path, asked: str, written: str | None, doubt: bool
):
    pyproject = f'[project]\nname = "moody"\nrequires-python = "{asked}"\n'
    found = looked(project({**MOODY, "pyproject.toml": pyproject, "README.md": README}))
    write(found, tmp_path / "model")
    assert analyze(FolderFiles(tmp_path / "model")).python == written
    assert any("is not heeded" in warning for warning in found.report.warnings) == doubt


def test_the_python_that_the_user_names_is_taken(project: Project):
    folder = project({**MOODY, "README.md": README})
    assert looked(folder, Answers(python="3.10")).python == "3.10"
    with pytest.raises(InvalidInput, match="no version of Python"):
        looked(folder, Answers(python="snake"))


@pytest.mark.parametrize(
    "files",
    [
        {"setup.cfg": "[metadata]\nname = a\n[options]\npython_requires = >=3.9,<3.10\n"},
        {"setup.py": "from setuptools import setup\nsetup(name='a', python_requires='>=3.9,<3.10')"},
        {"pyproject.toml": '[tool.poetry]\nname = "a"\n[tool.poetry.dependencies]\npython = "~3.9"\n'},
    ],
    ids=["setup.cfg", "setup.py", "poetry"],
)
def test_where_its_python_is_said(project: Project, files: dict[str, str]):
    assert looked(project({**files, "a.py": "x = 1"})).project.python == ">=3.9,<3.10"
