"""The signal handlers of a process, and when they are called."""

import logging
import signal
import subprocess
import sys
import threading

import pytest

from tests.support.server import DEADLINE
from wsctl.drain.graceful import NotDraining
from wsctl.process import signals

LOG = logging.getLogger("wsctl.server")

MAKES_SOMETHING = """
import os, signal
from wsctl.process.signals import blocked_end_signals
with blocked_end_signals():
    os.kill(os.getpid(), signal.SIGTERM)
    signal.signal(signal.SIGTERM, lambda *_: print("taken"))
    print("made")
"""

HANDLES = """
import asyncio, os, signal
from wsctl.drain.signals import SignalAction, SignalRole
from wsctl.process.signals import SignalHandlers

async def main():
    arrived = asyncio.Queue()
    actions = {action: arrived.put_nowait for action in SignalAction}
    handlers = SignalHandlers(SignalRole.{role}, actions)
    handlers.install()
    for signum in ({sent}):
        os.kill(os.getpid(), signum)
        print(signal.Signals(await arrived.get()).name)
    print(handlers.first and signal.Signals(handlers.first).name)
    handlers.give_back()
    handlers.call_host(signal.SIGTERM) or print("no handler of a host")

signal.signal(signal.SIGTERM, lambda signum, _: print("the host's own"))
asyncio.run(main())
os.kill(os.getpid(), signal.SIGTERM)
"""

REPLACES = """
import asyncio, os, signal, uvloop
from wsctl.drain.signals import SignalAction, SignalRole
from wsctl.process.signals import SignalHandlers

def tell(by):
    return lambda signum: print(by, signal.Signals(signum).name)

async def main():
    handlers = SignalHandlers(SignalRole.SERVER, dict.fromkeys(SignalAction, tell("action")))
    handlers.install()
    os.kill(os.getpid(), signal.SIGTERM)
    for _ in range({iterations}):
        await asyncio.sleep(0)
    os.kill(os.getpid(), signal.SIGINT)
    asyncio.get_running_loop().call_soon(os.kill, os.getpid(), signal.SIGHUP)
    await handlers.replace(tell("handler"))
    os.kill(os.getpid(), signal.SIGUSR1)

with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
    runner.run(main())
    os.kill(os.getpid(), signal.SIGINT)
os.kill(os.getpid(), signal.SIGTERM)
"""

EXECUTES = """
import asyncio, os, signal, sys
from wsctl.drain.signals import SignalAction, SignalRole
from wsctl.process.signals import SignalHandlers, blocked_until_renewed, settle

def tell(by):
    return lambda signum: print(by, signal.Signals(signum).name)

async def old():
    handlers = SignalHandlers(SignalRole.PARENT, dict.fromkeys(SignalAction, tell("old")))
    handlers.install()
    os.kill(os.getpid(), signal.SIGHUP)
    async with handlers.blocked() as before:
        for signum in (signal.SIGTERM, signal.SIGCHLD, signal.SIGTSTP, signal.SIGUSR1):
            os.kill(os.getpid(), signum)
        os.environ["BLOCKED"] = ",".join(map(str, sorted(before)))
        os.execv(sys.executable, [sys.executable, "-u", "-c", sys.orig_argv[-1]])

async def new(before):
    handlers = SignalHandlers(SignalRole.PARENT, {a: tell("new") for a in SignalAction})
    with blocked_until_renewed(before):
        handlers.install()
    await settle()
    print(sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])) == before)

if "BLOCKED" in os.environ:
    asyncio.run(new([int(signum) for signum in os.environ["BLOCKED"].split(",") if signum]))
else:
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGWINCH])
    asyncio.run(old())
"""


def _handling(role: str, *sent: str) -> list[str]:
    program = HANDLES.replace("{role}", role).replace("{sent}", "".join(f"signal.{name}, " for name in sent))
    return _shown(program)


def _shown(program: str) -> list[str]:
    shown = subprocess.run(
        [sys.executable, "-u", "-c", program], capture_output=True, text=True, timeout=DEADLINE, check=False
    )
    assert not shown.stderr
    return shown.stdout.splitlines()


def test_a_parent_is_told_each_of_its_signals() -> None:
    sent = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGCHLD", "SIGTSTP")
    assert _handling("PARENT", *sent)[: len(sent)] == list(sent)


def test_an_embedded_server_hears_first_and_calls_the_host_in_the_end() -> None:
    shown = _handling("EMBEDDED", "SIGHUP", "SIGTERM")
    assert shown == ["SIGHUP", "SIGTERM", "SIGHUP", "the host's own", "the host's own"]


def test_a_status_is_logged_with_the_drain_among_its_fields(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    for drain in (None, {"active": 2}):
        signals.log_status(LOG, {"status": "serving", "drain": drain})
    told = [record.fields for record in caplog.records]  # type: ignore[attr-defined]
    assert told == [{"status": "serving"}, {"status": "serving", "active": 2}]


def test_a_handover_that_cannot_be_is_logged_and_one_that_begins_is_by_the_signal(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def refuse(by: str) -> None:
        raise NotDraining(f"not by {by}")

    begun: list[str] = []
    signals.begin_handover(LOG, begun.append, signal.SIGUSR2)
    assert (begun, caplog.records) == (["SIGUSR2"], [])
    signals.begin_handover(LOG, refuse, signal.SIGUSR2)
    (record,) = caplog.records
    assert (record.getMessage(), record.fields) == ("no handover now", {"why": "not by SIGUSR2"})  # type: ignore[attr-defined]


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


@pytest.mark.parametrize("iterations", range(4))
def test_no_signal_is_lost_when_the_event_loop_that_handles_them_ends(iterations: int) -> None:
    shown = _shown(REPLACES.replace("{iterations}", str(iterations)))
    assert sorted(shown[:2]) == ["action SIGINT", "action SIGTERM"]
    assert shown[2:] == ["handler SIGHUP", "handler SIGUSR1", "handler SIGINT", "handler SIGTERM"]


def test_no_signal_is_lost_when_the_process_executes_another_program() -> None:
    first, *others, mask = _shown(EXECUTES)
    assert first == "old SIGHUP"
    assert sorted(others) == ["new SIGCHLD", "new SIGTERM", "new SIGTSTP", "new SIGUSR1"]
    assert mask == "True"


def test_a_thread_that_blocks_signals_leaves_them_to_the_main_one() -> None:
    masks: list[set[int]] = []

    def look() -> None:
        signals.block_in_thread()
        masks.append({int(signum) for signum in signal.pthread_sigmask(signal.SIG_BLOCK, [])})

    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert masks[0] >= {signal.SIGTERM, signal.SIGCHLD, signal.SIGTSTP, signal.SIGUSR1}
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == before
