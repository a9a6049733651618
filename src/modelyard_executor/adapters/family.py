"""What the adapters of ``families/`` share: models whose code and weights come as a Python package.

The package's folders lie among the version's files (``antiberty/…``), so that weights, code and digest are
one thing, and the environment holds only what the package imports. A family is one file with

``FAMILY``
    a dictionary of literals, which the platform reads without loading anything:

    ``format``        what its files are, for people
    ``files``         paths that tell it, with ``*`` for any part of a name: each must be there (none: it is
                      only chosen by ``adapter:`` in model.yaml)
    ``architecture``  optional: which one config.json of transformers names, where paths do not tell enough
    ``requirements``  what the environment needs, PEP 508 lines
    ``signature``     the signature, with a batch axis; parameters are put into each record
    ``example``       a record that it can answer, or None
    ``holds``         other families whose package is among the files

``Adapter``
    a subclass of :class:`Family` with ``open`` and ``compute``, and ``check`` for what types do not tell.
"""

import sys
from pathlib import Path
from typing import Any, Mapping, Optional, Sequence

from ..adapter import Container, InvalidInput
from .record_adapter import Record, RecordAdapter


class Family(RecordAdapter):
    """Its package's folders can be imported in ``open``: the version's files are a program, and deployed as one."""

    SYSTEM: Sequence[str] = ()  # packages of the system

    def load(self, files: Path, device: str, options: Mapping[str, Any]) -> None:
        sys.dont_write_bytecode = True  # a version's folder stays as it was laid out
        sys.path.insert(0, str(files))
        super().load(files, device, options)

    def container(self) -> Container:
        return {"image": "python", "system_packages": list(self.SYSTEM)}


def residues(record: Record, name: str, allowed: str, *, most: Optional[int] = None) -> str:
    """The sequence ``record[name]`` in upper case. Raises InvalidInput with the position of what is none.

    It is written back into the record.
    """
    field = "inputs." + name
    sequence = record[name] = record[name].strip().upper()
    if not sequence:
        raise InvalidInput(field, "The sequence is empty.")
    for position, letter in enumerate(sequence):
        if letter not in allowed:
            raise InvalidInput(
                field, "%s[%d]: %r is not an amino acid (%s)." % (name, position, letter, allowed)
            )
    if most is not None and len(sequence) > most:
        raise InvalidInput(
            field, "The sequence has %d residues; the model reads at most %d." % (len(sequence), most)
        )
    return sequence
