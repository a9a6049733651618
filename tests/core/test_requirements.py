"""Requirements are shown once each."""

import pytest

from modelyard.core.requirements import without_ranges


@pytest.mark.parametrize(
    ("lines", "shown"),
    [
        ((), ()),
        (("numpy>=2,<3", "scipy"), ("numpy>=2,<3", "scipy")),
        (("scikit-learn>=1.5,<2", "numpy>=2", "Scikit_Learn==1.9.1"), ("numpy>=2", "Scikit_Learn==1.9.1")),
        (("torch==2.5.1", "torchvision>=0.20"), ("torch==2.5.1", "torchvision>=0.20")),
        (("a @ https://host/a.whl", "a==1"), ("a @ https://host/a.whl", "a==1")),
    ],
)
def test_a_range_beside_an_exact_version_is_left_out(
    lines: tuple[str, ...], shown: tuple[str, ...]
) -> None:
    assert without_ranges(lines) == shown
