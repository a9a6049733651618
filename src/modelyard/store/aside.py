"""Waiting for the disk in another thread, and never leaving it behind."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

_T = TypeVar("_T")


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
