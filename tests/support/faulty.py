"""`wsctl` that fails where it is told to: a program, run in place of `python -m wsctl`.

The file named by `FAULT_FILE` holds one word, read when the process starts. A process that was started by a
handover is the successor; everything else behaves as always.
"""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support.fork_server import parent
from wsctl.__main__ import main
from wsctl.process.spawn import HANDOVER_FD
from wsctl.server.handover import predecessor, protocol, successor


def _after_first_batch(act: Callable[[], None]) -> None:
    original = successor.Successor._adopt

    async def adopt(*packet: Any) -> None:
        await original(*packet)
        act()

    successor.Successor._adopt = adopt  # type: ignore[method-assign,assignment]


def _before_answering(act: Callable[[], None]) -> None:
    async def adopt(*packet: Any) -> None:
        act()
        await asyncio.Event().wait()

    successor.Successor._adopt = adopt  # type: ignore[method-assign,assignment]


def misbehave(fault: str) -> None:
    """Be the successor that has this fault."""
    predecessor_pid = parent()
    match fault:
        case "exits":
            sys.exit(7)
        case "hangs":
            time.sleep(600)
        case "speaks another version":
            protocol.VERSION = 999
        case "dies when the first have moved":
            _after_first_batch(lambda: os.kill(os.getpid(), signal.SIGKILL))
        case "dies with the first in hand":
            _before_answering(lambda: os.kill(os.getpid(), signal.SIGKILL))
        case "stops answering":
            _before_answering(lambda: None)
        case "kills its predecessor":
            _after_first_batch(lambda: os.kill(predecessor_pid, signal.SIGKILL))


def run() -> None:
    """What `python -m wsctl` does, with a fault."""
    predecessor.READY_TIMEOUT = float(os.environ.get("READY_TIMEOUT", predecessor.READY_TIMEOUT))
    if HANDOVER_FD in os.environ:
        misbehave(Path(os.environ["FAULT_FILE"]).read_text().strip())
    main()


if __name__ == "__main__":
    run()
