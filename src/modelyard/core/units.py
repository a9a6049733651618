"""Sizes and durations as people write and read them."""

import re

from modelyard.core.errors import InvalidInput

_UNITS = {
    "": 1, "b": 1,
    "k": 1000, "kb": 1000, "kib": 1024,
    "m": 1000**2, "mb": 1000**2, "mib": 1024**2,
    "g": 1000**3, "gb": 1000**3, "gib": 1024**3,
    "t": 1000**4, "tb": 1000**4, "tib": 1024**4,
}  # fmt: skip


def parse_bytes(text: str, *, field: str = "size") -> int:
    """Read ``512MiB``, ``4 GB``, ``1.5g`` or ``4096`` as bytes; raise InvalidInput else."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]*)\s*", text)
    if match is None or match[2].lower() not in _UNITS:
        raise InvalidInput(f"{text!r} is not a size; write 512MiB, 4GB or a number of bytes.", field=field)
    return int(float(match[1]) * _UNITS[match[2].lower()])


def format_bytes(count: int) -> str:
    """``1.2 MB``; decimal units, as disks and downloads are counted."""
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if abs(value) < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def parse_count(text: str, *, field: str = "count") -> int:
    """Read ``650M``, ``1.5B``, ``7k`` or ``4096`` as a number; raise InvalidInput else."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kKmMbB]?)\s*", text)
    if match is None:
        raise InvalidInput(f"{text!r} is not a count; write 650M, 1.5B or a number.", field=field)
    return round(float(match[1]) * {"": 1, "k": 1e3, "m": 1e6, "b": 1e9}[match[2].lower()])


def format_count(count: int) -> str:
    """``650M``, ``1.5B``: as models are called by their parameters."""
    for unit, size in (("B", 10**9), ("M", 10**6), ("k", 10**3)):
        if count >= size:
            return f"{count / size:.3g}{unit}"
    return str(count)


_SECONDS = {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "w": 7 * 86400.0}


def parse_seconds(text: str, *, field: str = "time") -> float:
    """Seconds in ``text``: a number with s, min, h, d or w (``12h``), or without. Raises InvalidInput."""
    match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)\s*([a-z]*)", text.strip().lower())
    if match is None or match[2] not in _SECONDS:
        raise InvalidInput(f"{text!r} is no length of time; write 90s, 30min, 12h or 7d.", field=field)
    return float(match[1]) * _SECONDS[match[2]]


def format_seconds(seconds: float) -> str:
    """``350 µs``, ``12.3 ms``, ``1.20 s``, ``3 min 20 s``."""
    if seconds < 1e-3:
        return f"{seconds * 1e6:.0f} µs"
    if seconds < 1:
        return f"{seconds * 1e3:.1f} ms"
    if seconds < 60:
        return f"{seconds:.2f} s"
    return f"{int(seconds // 60)} min {int(seconds % 60)} s"
