"""Waiting for the disk in another thread, and never leaving it behind."""

import asyncio
from collections.abc import AsyncIterable, Callable
from typing import Final, TypeVar

_T = TypeVar("_T")
_CHUNK: Final = 1024 * 1024


async def aside(call: Callable[..., _T], *arguments: object) -> _T:
    """Run ``call`` in a thread, and do not leave before it has ended, not even when cancelled."""
    task = asyncio.ensure_future(asyncio.to_thread(call, *arguments))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        while not task.done():
            try:
                await asyncio.wait([task])
            except asyncio.CancelledError:
                continue
        # Its own failure, if any, is not what ended this.
        if not task.cancelled():
            task.exception()
        raise


async def write_aside(chunks: AsyncIterable[bytes], write: Callable[[bytearray], object]) -> None:
    """Have ``write`` called aside with ``chunks``, which are small, in pieces of about a megabyte."""
    gathered = bytearray()
    async for chunk in chunks:
        gathered += chunk
        if len(gathered) >= _CHUNK:
            await aside(write, gathered)
            gathered = bytearray()
    await aside(write, gathered)
