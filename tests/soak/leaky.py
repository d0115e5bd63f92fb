"""`wsctl`, with leaks: what a soak must find. Run it as a program."""

import os
import sys
import threading
import time

from wsctl.cli.app import run

BEAT = 0.05
"""Seconds between two leaks."""

BYTES = 1 << 20
"""Of each."""


def leak() -> None:
    """For good."""
    kept = []
    while True:
        kept.append((os.dup(2), b"x" * BYTES))
        time.sleep(BEAT)


if __name__ == "__main__":
    threading.Thread(target=leak, daemon=True).start()
    sys.exit(run(sys.argv[1:]))
