"""Servers that take turns to drain: what one of them decides when it hears how many are before it."""

from signal import SIGINT, SIGTERM

import pytest

from wsctl.codes import ExitCode
from wsctl.drain.graceful import GracefulShutdownManager
from wsctl.drain.pace import Pace
from wsctl.drain.phases import Phase
from wsctl.drain.plan import Action
from wsctl.drain.progress import ClientCounts
from wsctl.drain.signals import FORCE_AFTER

THREE = ClientCounts(active=3)
NOBODY = ClientCounts()


def _waiting(delay: float = 0.0, timeout: float = 60.0) -> GracefulShutdownManager:
    """A server that was asked at 100 to drain."""
    manager = GracefulShutdownManager(Pace(timeout, delay, in_turn=True))
    manager.started()
    assert manager.drain(100.0, THREE) == []
    assert manager.phase is Phase.LAMEDUCK
    return manager


def _place(manager: GracefulShutdownManager, now: float) -> int:
    progress = manager.progress(now, THREE)
    assert progress
    return progress.waiting_for


def test_clients_are_told_when_nobody_is_before_it() -> None:
    life = _waiting()
    assert life.set_waiting_for(2, 101.0, THREE) == []
    assert _place(life, 101.0) == 2
    assert life.set_waiting_for(1, 102.0, THREE) == []
    assert _place(life, 102.0) == 1
    assert life.set_waiting_for(0, 103.0, THREE) == [Action.ANNOUNCE]
    assert (life.phase, _place(life, 103.0)) == (Phase.DRAINING, 0)


def test_before_it_has_heard_it_waits() -> None:
    life = _waiting()
    assert life.step(159.9, THREE) == []
    assert life.phase is Phase.LAMEDUCK


def test_the_turn_does_not_shorten_the_delay_nor_the_delay_the_turn() -> None:
    life = _waiting(delay=5.0)
    assert life.set_waiting_for(0, 101.0, THREE) == []
    assert life.wake_at() == 105.0
    assert life.step(105.0, THREE) == [Action.ANNOUNCE]
    life = _waiting(delay=5.0)
    life.set_waiting_for(1, 101.0, THREE)
    assert life.step(105.0, THREE) == []
    assert life.wake_at() == 165.0
    assert life.set_waiting_for(0, 110.0, THREE) == [Action.ANNOUNCE]


def test_the_deadline_does_not_wait_for_the_turn() -> None:
    life = _waiting()
    life.set_waiting_for(1, 101.0, THREE)
    life.step(101.0, THREE)
    assert life.wake_at() == 160.0
    assert life.step(160.0, THREE) == [Action.CLOSE]
    assert life.step(160.1, ClientCounts(forced=3)) == [Action.STOP]
    assert life.exit_code is ExitCode.FORCED


def test_who_has_no_clients_left_needs_no_turn() -> None:
    life = _waiting()
    life.set_waiting_for(1, 101.0, THREE)
    assert life.step(102.0, ClientCounts(left=3)) == [Action.STOP]
    alone = GracefulShutdownManager(Pace(60.0, in_turn=True))
    alone.started()
    assert alone.signal(SIGTERM, 100.0, NOBODY) == [Action.STOP]


def test_a_turn_that_is_lost_again_does_not_stop_a_drain() -> None:
    life = _waiting()
    life.set_waiting_for(0, 101.0, THREE)
    assert life.set_waiting_for(1, 102.0, THREE) == []
    assert (life.phase, _place(life, 102.0)) == (Phase.DRAINING, 0)


def test_who_waits_can_cancel_and_asks_anew_next_time() -> None:
    life = _waiting()
    life.set_waiting_for(1, 101.0, THREE)
    assert life.cancel() == []
    assert life.set_waiting_for(0, 102.0, THREE) == []
    assert life.drain(103.0, THREE) == []
    assert life.phase is Phase.LAMEDUCK


@pytest.mark.parametrize("signum", [SIGTERM, SIGINT])
def test_who_waits_can_be_forced(signum: int) -> None:
    life = GracefulShutdownManager(Pace(60.0, in_turn=True))
    life.started()
    life.signal(signum, 100.0, THREE)
    life.set_waiting_for(1, 101.0, THREE)
    assert life.signal(SIGINT, 100.0 + FORCE_AFTER, THREE) == [Action.CLOSE]
    assert life.by_operator


def test_after_a_handover_nobody_waits_for_a_turn() -> None:
    life = GracefulShutdownManager(Pace(60.0, in_turn=True))
    life.started()
    life.begin_handover()
    life.finish_handover(100.0, THREE)
    assert life.phase is Phase.DRAINING
