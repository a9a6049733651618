"""Attacks on the registry, made by the tests themselves. Every payload is harmless: it would write one marker file.

``pickles`` has pickles that run something, ``containers`` puts one into other files, ``formats`` are models of other
formats that run something, ``archives`` and ``lies`` attack who reads them, ``viruses`` has EICAR in containers.
"""

from typing import NamedTuple


class Attack(NamedTuple):
    """``data`` in a file called ``name``. ``reaches``: what the verdict must name (a part of a finding). ``loads``:
    how it would be loaded for the payload to run (empty: nothing here can)."""

    name: str
    data: bytes
    reaches: str
    loads: str = ""
