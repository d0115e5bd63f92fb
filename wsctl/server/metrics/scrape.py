"""The costly parts of a scrape, run beside the event loop: loading the library, counting descriptors, making
text."""

import asyncio
from collections.abc import Iterable

from wsctl.server.metrics.family import Family


async def process() -> list[Family]:
    """Return memory, CPU and descriptors of this process."""
    return await asyncio.to_thread(_process)


async def text(families: Iterable[Family], accept: str) -> tuple[bytes, str]:
    """Return the text as the header `accept` wants it, and its content type."""
    return await asyncio.to_thread(_encoded, families, accept)


def _process() -> list[Family]:
    from wsctl.server.metrics import exposition

    return exposition.process()


def _encoded(families: Iterable[Family], accept: str) -> tuple[bytes, str]:
    from wsctl.server.metrics import exposition

    return exposition.encoded(families, accept)
