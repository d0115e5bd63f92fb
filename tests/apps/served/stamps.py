"""What the applications say: which process they are in, and when they said it."""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

INTERVAL = 0.05
"""Seconds between two stamps of a stream."""

ENDED = "the lifespan has ended in"
"""What is written to standard error with the process's id when a lifespan has shut down."""


def stamp() -> str:
    """Return the process's id and the moment on the clock that all processes of the machine share."""
    return f"{os.getpid()} {time.monotonic()}"


async def stamps() -> AsyncIterator[str]:
    """Yield stamps for ever."""
    while True:
        yield stamp()
        await asyncio.sleep(INTERVAL)


@asynccontextmanager
async def lifespan(_app: Any = None) -> AsyncIterator[None]:
    """Say on standard error that the lifespan has ended."""
    yield
    report_end()


def report_end() -> None:
    print(f"{ENDED} {os.getpid()}", file=sys.stderr, flush=True)
