"""The standard streams: which one is a terminal, whether it shows colour, and the lines of an input that is
none."""

import os
import threading
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.console import Console

AHEAD = 64
"""Lines read before they are asked for: a huge file is not taken into memory."""


def console(stream: TextIO) -> "Console":
    """Return a rich console for a stream: colour only on a terminal that wants it (NO_COLOR, TERM=dumb)."""
    from rich.console import Console

    return Console(file=stream, highlight=False, soft_wrap=True, no_color=not has_colour(stream))


def has_colour(stream: TextIO) -> bool:
    """Tell whether a stream is a terminal that is to be coloured."""
    return is_live(stream) and not os.environ.get("NO_COLOR")


def is_live(stream: TextIO) -> bool:
    """Tell whether a line on a stream can be drawn over."""
    return stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"


async def read_lines(fd: int) -> AsyncIterator[str]:
    """Yield each line without its end, until the end of input; bytes that are not UTF-8 become U+FFFD.

    A thread reads, because event loops cannot wait for files. It is a daemon with a reader of its own:
    the process can end while it waits for more.
    """
    import asyncio

    arrived: asyncio.Queue[str | None] = asyncio.Queue()
    room = threading.Semaphore(AHEAD)
    loop = asyncio.get_running_loop()

    def read() -> None:
        with suppress(RuntimeError):  # the loop has ended
            with suppress(OSError), open(fd, "rb", closefd=False) as stream:
                for line in stream:
                    room.acquire()
                    text = line.rstrip(b"\r\n").decode(errors="replace")
                    loop.call_soon_threadsafe(arrived.put_nowait, text)
            loop.call_soon_threadsafe(arrived.put_nowait, None)

    threading.Thread(target=read, daemon=True, name="stdin").start()
    while (line := await arrived.get()) is not None:
        yield line
        room.release()
