"""Lines of a standard input that is no terminal with a prompt: a pipe, a file, a device."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import suppress

AHEAD = 64
"""Lines read before they are asked for: a huge file is not taken into memory."""


async def read_lines(fd: int) -> AsyncIterator[str]:
    """Yield each line without its end, until the end of input; bytes that are not UTF-8 become U+FFFD.

    A thread reads, because event loops cannot wait for files. It is a daemon with a reader of its own:
    the process can end while it waits for more.
    """
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
