"""Which signals end a server, and when they are taken."""

import signal
import subprocess
import sys

from tests.support.server import DEADLINE
from wsctl.process import signals

MAKES_SOMETHING = """
import os, signal
from wsctl.process.signals import blocked_end_signals
with blocked_end_signals():
    os.kill(os.getpid(), signal.SIGTERM)
    signal.signal(signal.SIGTERM, lambda *_: print("taken"))
    print("made")
"""


def test_a_closed_terminal_ends_a_server_unless_that_is_to_be_ignored() -> None:
    assert signal.SIGHUP in signals.end_signals()
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert signals.end_signals() == [signal.SIGINT, signal.SIGTERM]
    finally:
        signal.signal(signal.SIGHUP, before)


def test_what_comes_while_something_is_made_waits_until_it_can_be_removed() -> None:
    shown = subprocess.run(
        [sys.executable, "-c", MAKES_SOMETHING], capture_output=True, text=True, timeout=DEADLINE, check=False
    )
    assert (shown.returncode, shown.stdout) == (0, "made\ntaken\n")


def test_afterwards_they_come_as_before() -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    with signals.blocked_end_signals():
        assert signal.SIGTERM in signal.pthread_sigmask(signal.SIG_BLOCK, [])
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == before
