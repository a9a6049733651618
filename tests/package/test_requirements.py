"""Requirements that mean the same come out equal; what is no requirement is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.core.errors import RejectedContent
from modelyard.package.requirements import normalize


def test_spelling_order_comments_and_repetitions_do_not_matter():
    assert normalize(["Scikit_Learn >=1.5 , <2  # why", "numpy", "", "# x", "numpy"]) == normalize(
        ["numpy", "scikit-learn<2,>=1.5"]
    )


def test_extras_and_markers_are_kept():
    assert normalize(['Uvicorn[Standard]>=0.3; python_version < "4"']) == (
        'uvicorn[standard]>=0.3; python_version < "4"',
    )


@pytest.mark.parametrize(
    "line",
    ["-r other.txt", "--index-url https://example.org", "-e .", "./local", "numpy=>1", "a b", "x @ file:///etc/passwd",
     "x @ git+https://example.org/x.git", "x @ https://example.org/x.tar.gz"],
)  # fmt: skip
def test_what_is_not_a_package_of_an_index_is_refused_with_its_place(line):
    with pytest.raises(RejectedContent) as caught:
        normalize(["numpy", line])
    assert caught.value.field == "requirements[1]"


def test_a_wheel_over_https_is_accepted():
    line = "x @ https://example.org/x-1-py3-none-any.whl"
    assert normalize([line]) == (line,)


@given(st.lists(st.sampled_from(["numpy>=1", "Numpy >= 1", "pandas", "torch==2.6 # pin", "a[b,C]"])))
def test_normalizing_twice_changes_nothing(lines):
    once = normalize(lines)
    assert normalize(once) == once
    assert normalize(list(reversed(lines))) == once
