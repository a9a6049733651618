"""The table of failures in docs/reliability.md says what the tests try, and names them."""

from pathlib import Path

from support.failures import ROWS

ROOT = Path(__file__).parents[2]


def test_the_documentation_has_these_counts() -> None:
    page = (ROOT / "docs" / "reliability.md").read_text()
    lines = page.partition("## Bytes that come")[2].splitlines()
    table = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")
    ]
    rows = table[2:]
    assert len(rows) == len(ROWS)
    for (failure, tried, survived, test), (begins, count) in zip(rows, ROWS.items(), strict=True):
        assert failure.startswith(begins)
        assert (tried, survived) == (str(count), str(count)), failure
        assert (ROOT / test.strip("`")).is_file(), test
