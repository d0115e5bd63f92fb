"""What signals ask of a server, of the parent of workers, and of a server embedded in another one."""

import signal
from signal import SIGCHLD, SIGHUP, SIGINT, SIGTERM, SIGTSTP, SIGUSR1, SIGUSR2

import pytest

from wsctl.drain.signals import (
    FORCE_AFTER,
    PASSED_TO_SUCCESSOR,
    POLICY,
    SAME_KEY,
    Disposition,
    SignalAction,
    SignalMeaning,
    SignalReader,
    SignalRole,
    handled_signals,
)
from wsctl.process.waiter import PASSED

OF_A_SERVER = {
    SIGINT: SignalAction.END,
    SIGTERM: SignalAction.END,
    SIGHUP: SignalAction.END,
    SIGUSR1: SignalAction.LOG_STATUS,
    SIGUSR2: SignalAction.HAND_OVER,
}
OF_A_PARENT = OF_A_SERVER | {SIGCHLD: SignalAction.REAP, SIGTSTP: SignalAction.SUSPEND}


def _handled(role: SignalRole, **found: Disposition) -> dict[signal.Signals, SignalAction]:
    """What is handled where signals do what is `found`, and by default the others."""
    return handled_signals(role, lambda signum: found.get(signum.name, Disposition.DEFAULT))


def test_a_server_handles_what_ends_it_what_asks_it_and_what_replaces_it() -> None:
    assert _handled(SignalRole.SERVER) == OF_A_SERVER


def test_a_parent_looks_after_its_workers_too() -> None:
    assert _handled(SignalRole.PARENT) == OF_A_PARENT


@pytest.mark.parametrize("role", [SignalRole.SERVER, SignalRole.PARENT])
def test_a_hangup_that_is_ignored_stays_ignored(role: SignalRole) -> None:
    assert SIGHUP not in _handled(role, SIGHUP=Disposition.IGNORED)
    for other in (Disposition.DEFAULT, Disposition.HANDLED, Disposition.FOREIGN):
        assert SIGHUP in _handled(role, SIGHUP=other)


def test_the_other_signals_that_end_are_handled_whatever_they_did() -> None:
    ignored = {"SIGINT": Disposition.IGNORED, "SIGTERM": Disposition.FOREIGN}
    assert _handled(SignalRole.SERVER, **ignored) == OF_A_SERVER


@pytest.mark.parametrize("found", [each for each in Disposition if each is not Disposition.DEFAULT])
def test_ctrl_z_is_left_alone_where_it_does_not_stop(found: Disposition) -> None:
    assert SIGTSTP not in _handled(SignalRole.PARENT, SIGTSTP=found)


def test_only_what_a_host_handles_is_put_off_and_a_hangup_that_would_kill() -> None:
    both = {"SIGINT": Disposition.HANDLED, "SIGTERM": Disposition.HANDLED}
    assert set(_handled(SignalRole.EMBEDDED, **both)) == {SIGINT, SIGTERM, SIGHUP}
    assert set(_handled(SignalRole.EMBEDDED, SIGTERM=Disposition.HANDLED)) == {SIGTERM, SIGHUP}
    for other in (Disposition.IGNORED, Disposition.HANDLED, Disposition.FOREIGN):
        assert set(_handled(SignalRole.EMBEDDED, **both, SIGHUP=other)) == {SIGINT, SIGTERM}


@pytest.mark.parametrize("found", [each for each in Disposition if each is not Disposition.HANDLED])
def test_a_host_that_handles_no_end_is_left_alone(found: Disposition) -> None:
    assert _handled(SignalRole.EMBEDDED, SIGINT=found, SIGTERM=found) == {}


def test_a_successor_is_not_forced_by_a_key_that_it_has_seen() -> None:
    ends = {signum for signum, rule in POLICY[SignalRole.SERVER].items() if rule.action is SignalAction.END}
    assert {PASSED_TO_SUCCESSOR[signum] for signum in ends} == {SIGTERM}
    assert PASSED_TO_SUCCESSOR[SIGUSR2] == SIGUSR2


def test_the_waiter_passes_on_all_that_means_something_to_a_server() -> None:
    assert set(POLICY[SignalRole.SERVER]) <= PASSED


def test_the_first_signal_begins_and_ctrl_c_a_second_later_forces() -> None:
    reader = SignalReader()
    assert reader.read(SIGTERM, 0.0) is SignalMeaning.BEGIN
    assert reader.read(SIGINT, FORCE_AFTER / 2) is SignalMeaning.TOO_SOON
    assert reader.read(SIGTERM, FORCE_AFTER) is SignalMeaning.NOTHING
    assert reader.read(SIGINT, FORCE_AFTER) is SignalMeaning.FORCE
    assert reader.read(SIGINT, FORCE_AFTER + SAME_KEY / 2) is SignalMeaning.NOTHING
