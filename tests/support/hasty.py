"""`wsctl` that waits a second where it waits for many: a program, run in place of `python -m wsctl`.

For tests that go past the deadlines of applications and their clients, one after the other. With the variable
`PARSER=h11` it is as if httptools were not installed.
"""

import os
import sys

from wsctl.__main__ import main
from wsctl.drain import graceful
from wsctl.server import served_application
from wsctl.server.asgi import connections, watchdog
from wsctl.server.http import deadlines

SHORT = 1.0
"""Seconds."""


def run() -> None:
    """What `python -m wsctl` does, in haste."""
    for module in (graceful, connections, watchdog):
        module.CLOSE_TIMEOUT = SHORT  # type: ignore[attr-defined]
    watchdog.OVERDUE = watchdog.EXIT_TIMEOUT = SHORT
    served_application.LATE_TIMEOUT = served_application.RETURN_TIMEOUT = SHORT
    served_application.LIFESPAN_TIMEOUT = SHORT
    deadlines.TIMEOUTS[deadlines.Stage.HEAD] = deadlines.TIMEOUTS[deadlines.Stage.IDLE] = SHORT
    if os.environ.get("PARSER") == "h11":
        sys.modules["httptools"] = None  # type: ignore[assignment]
    main()


if __name__ == "__main__":
    run()
