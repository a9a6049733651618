"""Borders found in the bytes themselves (FastCDC): what was inserted or taken away moves only those around it.

Source: https://www.usenix.org/conference/atc16/technical-sessions/presentation/xia
"""

from collections.abc import Iterator
from typing import Final

from modelyard.store.borders.source import Source

LEAST, AVERAGE, LARGEST = 256 * 1024, 1024 * 1024, 4 * 1024 * 1024
_READ: Final = 16 * 1024 * 1024


def lengths(source: Source, start: int, stop: int) -> Iterator[int]:
    """The lengths of the parts of ``start`` to ``stop``, in order."""
    from pyfastcdc import FastCDC

    cutter = FastCDC(avg_size=AVERAGE, min_size=LEAST, max_size=LARGEST)
    while start < stop:
        data = source.read(start, min(_READ, stop - start))
        last = start + len(data) == stop
        for chunk in cutter.cut_buf(data):
            # The last one of a window is only the last one of all at the end.
            if not last and chunk.offset + chunk.length == len(data):
                break
            yield chunk.length
            start += chunk.length
        if last:
            return
