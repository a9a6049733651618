"""What one run of load saw."""

from typing import NamedTuple


class Measured(NamedTuple):
    """``rate`` in good answers a second, ``p50`` and ``p99`` in milliseconds, ``errors`` in answers."""

    rate: float
    p50: float
    p99: float
    errors: int
