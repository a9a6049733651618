"""Exact versions: what is installed, what a file of requirements says, and what the platform does not run."""

import numpy

from modelyard.package.pins import installed, packages_of, pinned, written


def test_what_is_installed_is_pinned_within_what_is_asked_for() -> None:
    lines, notes = pinned(
        ("numpy>=1.26,<99", "no-such-package>=1", "numpy>=1; python_version < '3'"), ("NumPy",)
    )
    assert (lines, notes) == ((f"numpy=={numpy.__version__}",), ())
    lines, notes = pinned(("numpy<1",))
    assert lines == ()
    assert "the platform runs it with <1" in notes[0]


def test_a_package_under_another_name_is_the_same() -> None:
    assert installed("xgboost") is None or installed("xgboost") == installed("xgboost-cpu")
    assert installed("xgboost-cpu") is not None


def test_only_exact_lines_of_a_requirements_file_count() -> None:
    told = written(
        [
            "numpy==2.1.0",
            "torch==2.1.0+cpu",
            "scikit_learn == 1.5.2  # why",
            "pandas>=2",
            "x==1.*",
            "-r more.txt",
            "",
        ]
    )
    assert told == {"numpy": "2.1.0", "torch": "2.1.0", "scikit-learn": "1.5.2"}


def test_modules_are_found_in_their_packages() -> None:
    assert packages_of(["sklearn", "yaml", "no_such"]) == ("PyYAML", "scikit-learn")
