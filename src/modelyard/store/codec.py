"""How a piece is kept: as it is, or compressed where a sample says that this pays.

Weights are noise to a compressor, but for their exponents: with the bytes of each number taken apart (all first
bytes, then all second ones …) zstd at its lowest level takes a sixth off float32 and float16 and a third off
bfloat16; without that, or at higher levels, less (decision 29 has the figures).
"""

from typing import Final

import zstandard

from modelyard.core.errors import Internal

RAW, ZSTD, PLANES2, PLANES4 = 0, 1, 2, 4
NAMES: Final = {RAW: "raw", ZSTD: "zstd", PLANES2: "zstd of 2 planes", PLANES4: "zstd of 4 planes"}
PAYS: Final = 0.95  # of its size that a compressed piece may have
_SAMPLE: Final = 64 * 1024
_LEVEL: Final = 1


def encode(data: bytes) -> tuple[int, bytes]:
    """The codec that a sample of ``data`` is smallest with, and ``data`` in it; raw where none pays."""
    middle = (len(data) // 2) & ~7
    sample = data[:_SAMPLE] if len(data) <= 4 * _SAMPLE else data[middle : middle + _SAMPLE]
    sizes = {codec: len(_compress(codec, sample)) for codec in (ZSTD, PLANES2, PLANES4)}
    codec = min(sizes, key=lambda each: sizes[each])
    if sizes[codec] > PAYS * len(sample):
        return RAW, data
    encoded = _compress(codec, data)
    return (codec, encoded) if len(encoded) <= PAYS * len(data) else (RAW, data)


def decode(codec: int, data: bytes | memoryview, size: int) -> bytes | memoryview:
    """The ``size`` bytes that were encoded. Raises Internal for what is damaged."""
    if codec == RAW:
        return data
    try:
        planes = zstandard.ZstdDecompressor().decompress(data, max_output_size=size)
    except zstandard.ZstdError as error:
        raise Internal(f"A piece cannot be decompressed ({error}).") from error
    if codec == ZSTD:
        return planes
    if len(planes) != size:
        raise Internal(f"A piece has {len(planes)} bytes instead of {size}.")
    whole, start = bytearray(size), 0
    for plane in range(codec):
        length = len(range(plane, size, codec))
        whole[plane::codec] = planes[start : start + length]
        start += length
    return memoryview(whole)


def _compress(codec: int, data: bytes) -> bytes:
    compressor = zstandard.ZstdCompressor(level=_LEVEL)
    if codec == ZSTD:
        return compressor.compress(data)
    one = compressor.compressobj(size=len(data))
    parts: list[bytes] = []
    for plane in range(codec):
        # A block ends where a plane does: bytes of one kind have one table of their own.
        parts += [one.compress(data[plane::codec]), one.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)]
    return b"".join([*parts, one.flush()])
