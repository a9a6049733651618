"""EICAR's test file (https://www.eicar.org): harmless, and what every scanner is tried with. Wherever it lies in
another container's members it is known without a virus scanner."""

from typing import Final

from modelyard.registry.scan.view import HEAD, Report, View

NAME: Final = "a test virus"
# In two parts, so that no scanner takes this file for it.
_TEXT: Final = b"X5O!P%@AP[4\\PZX54(P^)7CC)7}$" + b"EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"


def looks(view: View) -> bool:
    """Whether it stands near the beginning: the test file is at most 128 bytes long, with white space."""
    return _TEXT in view.head[:HEAD]


def scan(view: View, report: Report) -> None:
    report.add("malicious", "the EICAR test virus", view.head.find(_TEXT), "EICAR")
