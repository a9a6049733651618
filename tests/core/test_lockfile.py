"""What one lock became in another."""

from modelyard.core.lockfile import difference


def test_what_changed_came_and_went_is_told() -> None:
    former = "numpy==2.1.0\nscipy==1.14.0\n# a comment\ntqdm==4.1 ; python_version < '4'\n"
    now = "numpy==2.2.0\nscipy==1.14.0\npandas==2.3.0 --hash=sha256:0\n"
    assert difference(former, now) == ("numpy 2.1.0 → 2.2.0", "pandas none → 2.3.0", "tqdm 4.1 → none")
    assert difference(former, former) == ()
    assert difference("", "") == ()
