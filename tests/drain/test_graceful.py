"""How a server ends: every decision, with the time and the signals as arguments."""

from signal import SIGINT, SIGTERM

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.support.sizes import examples
from wsctl.codes import CLOSE_TIMEOUT, ExitCode
from wsctl.drain.graceful import GracefulShutdownManager, NotDraining
from wsctl.drain.pace import HANDOVER_WINDOW, ORPHAN_TIMEOUT, RELOAD, RELOAD_TIMEOUT, Pace
from wsctl.drain.phases import MOVES, IllegalMove, Phase
from wsctl.drain.plan import Action, CloseOldest, Invite, Step
from wsctl.drain.progress import ClientCounts, ConnectedClient
from wsctl.drain.signals import FORCE_AFTER, ORPHANED, SAME_KEY

THREE = ClientCounts(active=3)
NOBODY = ClientCounts()
EVE, BOB = ConnectedClient("eve", 7.5, 0), ConnectedClient("bob", 3.0, 900)
ANNOUNCE, ANNOUNCE_CANCEL, CLOSE, ABORT, STOP = (
    Action.ANNOUNCE,
    Action.ANNOUNCE_CANCEL,
    Action.CLOSE,
    Action.ABORT,
    Action.STOP,
)


def _serving(
    timeout: float = 60.0, delay: float = 0.0, spread: float = 0.0, window: float = 0.0
) -> GracefulShutdownManager:
    manager = GracefulShutdownManager(Pace(timeout, delay, spread, window))
    manager.started()
    return manager


@pytest.mark.parametrize("signum", [SIGTERM, SIGINT])
def test_the_first_signal_drains_until_the_last_client_has_left(signum: int) -> None:
    life = _serving()
    assert life.signal(signum, 100.0, THREE) == [ANNOUNCE]
    assert life.phase is Phase.DRAINING
    assert life.wake_at() == 160.0
    assert life.step(130.0, ClientCounts(active=1, left=2)) == []
    assert life.step(140.0, ClientCounts(left=3)) == [STOP]
    assert (life.phase, life.exit_code, life.wake_at()) == (Phase.STOPPED, ExitCode.DONE, None)


@pytest.mark.parametrize("signum", [SIGTERM, SIGINT])
def test_without_clients_it_ends_at_once_and_announces_nothing(signum: int) -> None:
    life = _serving()
    assert life.signal(signum, 100.0, NOBODY) == [STOP]
    assert life.exit_code is ExitCode.DONE


def test_the_deadline_closes_and_ten_seconds_later_aborts() -> None:
    life = _serving(60)
    life.signal(SIGTERM, 100.0, THREE)
    assert life.step(159.9, THREE) == []
    assert life.step(160.0, THREE) == [CLOSE]
    assert life.wake_at() == 160.0 + CLOSE_TIMEOUT == 170.0
    half = ClientCounts(closing=1, forced=3)
    assert life.step(169.9, half) == []
    assert life.step(170.0, half) == [ABORT, STOP]
    assert life.exit_code is ExitCode.FORCED


def test_it_stops_as_soon_as_every_close_is_answered() -> None:
    life = _serving(0)
    assert life.signal(SIGTERM, 100.0, THREE) == [CLOSE]
    assert life.step(100.2, ClientCounts(forced=3)) == [STOP]
    assert life.exit_code is ExitCode.FORCED


def test_clients_that_leave_at_the_deadline_are_not_forced() -> None:
    life = _serving(60)
    life.signal(SIGTERM, 100.0, THREE)
    assert life.step(160.0, ClientCounts(left=3)) == [STOP]
    assert life.exit_code is ExitCode.DONE


def test_further_sigterms_change_nothing() -> None:
    life = _serving()
    life.signal(SIGTERM, 100.0, THREE)
    before = life.progress(150.0, THREE)
    for now in (100.0, 101.5, 110.0, 150.0):
        assert life.signal(SIGTERM, now, THREE) == []
    assert life.progress(150.0, THREE) == before
    assert life.wake_at() == 160.0


@pytest.mark.parametrize("first", [SIGTERM, SIGINT])
def test_sigint_within_a_second_is_the_same_key_and_later_means_force(first: int) -> None:
    life = _serving()
    life.signal(first, 100.0, THREE)
    assert life.signal(SIGINT, 100.0 + FORCE_AFTER - 0.2, THREE) == []
    assert life.phase is Phase.DRAINING
    assert life.signal(SIGINT, 100.0 + FORCE_AFTER, THREE) == [CLOSE]
    assert life.phase is Phase.CLOSING
    assert life.wake_at() == 101.0 + CLOSE_TIMEOUT
    assert life.signal(SIGTERM, 101.5, THREE) == []
    assert life.signal(SIGINT, 101.5, ClientCounts(closing=3, forced=3)) == [ABORT, STOP]
    assert life.exit_code is ExitCode.OPERATOR == 130


def test_one_sigint_in_closing_aborts_and_is_the_operator_s_doing() -> None:
    life = _serving(10)
    life.signal(SIGTERM, 100.0, THREE)
    life.step(110.0, THREE)
    assert life.signal(SIGINT, 111.0, ClientCounts(closing=2, forced=3)) == [ABORT, STOP]
    assert life.exit_code is ExitCode.OPERATOR


@pytest.mark.parametrize("second", [SIGTERM, SIGINT])
def test_a_signal_before_serving_stops_and_the_next_ones_do_nothing(second: int) -> None:
    life = GracefulShutdownManager(Pace(60))
    assert life.signal(SIGTERM, 100.0, NOBODY) == [STOP]
    for now in (100.0, 105.0):
        assert life.signal(second, now, NOBODY) == []
    assert (life.phase, life.exit_code) == (Phase.STOPPED, ExitCode.DONE)
    assert life.progress(105.0, NOBODY) is None


def test_a_signal_after_the_end_does_nothing() -> None:
    life = _serving()
    life.drain(100.0, NOBODY)
    for now in (100.0, 105.0, 110.0):
        assert life.signal(SIGINT, now, NOBODY) == []
    assert life.exit_code is ExitCode.DONE


def test_a_requested_drain_can_be_moved_and_cancelled() -> None:
    life = _serving()
    assert life.drain(100.0, THREE, 30) == [ANNOUNCE]
    assert life.wake_at() == 130.0
    assert life.drain(110.0, THREE, 300) == [ANNOUNCE]
    assert life.wake_at() == 410.0
    assert life.drain(111.0, THREE) == []
    assert life.wake_at() == 410.0
    assert life.cancel() == [ANNOUNCE_CANCEL]
    assert (life.phase, life.wake_at(), life.progress(112.0, THREE)) == (Phase.SERVING, None, None)
    assert life.drain(200.0, THREE) == [ANNOUNCE]
    assert life.wake_at() == 260.0


def test_a_deadline_moved_to_now_closes() -> None:
    life = _serving()
    life.drain(100.0, THREE)
    assert life.drain(110.0, THREE, 0) == [CLOSE]


def test_a_drain_begun_or_taken_over_by_a_signal_cannot_be_cancelled() -> None:
    for requested in (False, True):
        life = _serving()
        if requested:
            life.drain(99.0, THREE, 500)
        life.signal(SIGTERM, 100.0, THREE)
        with pytest.raises(NotDraining, match="signal"):
            life.cancel()
        progress = life.progress(101.0, THREE)
        assert progress
        assert (progress.reason, progress.cancellable) == ("SIGTERM", False)


def test_what_is_too_early_or_too_late_is_refused() -> None:
    starting = GracefulShutdownManager(Pace(60))
    closing = _serving(0)
    closing.signal(SIGTERM, 100.0, THREE)
    stopped = _serving()
    stopped.drain(100.0, NOBODY)
    for life in (starting, closing, stopped):
        with pytest.raises(NotDraining, match=str(life.phase)):
            life.drain(101.0, THREE)
        with pytest.raises(NotDraining):
            life.cancel()
    with pytest.raises(NotDraining):
        _serving().cancel()


def test_progress_counts_from_the_beginning_of_the_drain() -> None:
    life = _serving(60)
    before = ClientCounts(active=3, left=10, evicted=4)
    assert life.progress(99.0, before) is None
    life.signal(SIGTERM, 100.0, before)
    progress = life.progress(110.5, ClientCounts(1, 1, left=11, evicted=5, longest=(EVE, BOB)))
    assert progress
    assert (progress.started_with, progress.active) == (3, 1)
    assert (progress.oldest, progress.longest) == ("eve", (EVE, BOB))
    assert (progress.elapsed_s, progress.remaining_s) == (10.5, 49.5)
    assert (progress.left, progress.evicted, progress.forced, progress.aborted) == (1, 1, 0, 0)


def test_clients_forced_in_a_cancelled_drain_do_not_colour_a_later_one() -> None:
    life = _serving()
    life.drain(100.0, THREE)
    life.cancel()
    assert life.drain(200.0, ClientCounts(forced=2, aborted=1)) == [STOP]
    assert life.exit_code is ExitCode.DONE


def test_the_clock_of_a_drain_stands_once_it_has_ended() -> None:
    life = _serving()
    life.signal(SIGTERM, 100.0, THREE)
    life.step(107.0, ClientCounts(left=3))
    progress = life.progress(999.0, ClientCounts(left=3))
    assert progress
    assert (progress.elapsed_s, progress.remaining_s) == (7.0, 53.0)


def test_while_lame_it_is_only_not_ready_and_the_timeout_starts_afterwards() -> None:
    life = _serving(60, delay=5)
    assert life.signal(SIGTERM, 100.0, THREE) == []
    assert (life.phase, life.wake_at()) == (Phase.LAMEDUCK, 105.0)
    five = ClientCounts(active=5, left=2)
    assert life.step(104.9, five) == []
    progress = life.progress(104.9, five)
    assert progress
    assert (progress.phase, progress.started_with, progress.left) == (Phase.LAMEDUCK, 5, 0)
    assert (progress.elapsed_s, progress.remaining_s, progress.eta_s) == (4.9, 60.1, None)
    assert life.step(105.0, five) == [ANNOUNCE]
    assert (life.phase, life.wake_at()) == (Phase.DRAINING, 165.0)
    progress = life.progress(106.0, ClientCounts(active=4, left=3))
    assert progress
    assert (progress.started_with, progress.active, progress.left) == (5, 4, 1)
    assert (progress.elapsed_s, progress.remaining_s) == (6.0, 59.0)


def test_without_clients_too_the_delay_is_waited_out_for_somebody_may_come() -> None:
    life = _serving(60, delay=5)
    assert life.signal(SIGTERM, 100.0, NOBODY) == []
    assert life.step(102.0, NOBODY) == []
    assert life.step(105.0, NOBODY) == [STOP]
    assert life.exit_code is ExitCode.DONE


def test_a_second_sigint_forces_a_lame_server_too() -> None:
    life = _serving(60, delay=30)
    life.signal(SIGINT, 100.0, NOBODY)
    assert life.signal(SIGINT, 100.5, THREE) == []
    assert life.signal(SIGINT, 101.0, THREE) == [CLOSE]
    assert (life.phase, life.wake_at()) == (Phase.CLOSING, 111.0)
    forced = ClientCounts(forced=3)
    assert life.step(102.0, forced) == [STOP]
    progress = life.progress(103.0, forced)
    assert progress
    assert (progress.started_with, progress.forced) == (3, 3)
    assert life.exit_code is ExitCode.OPERATOR


def test_forcing_a_lame_server_without_clients_ends_it() -> None:
    life = _serving(60, delay=30)
    life.signal(SIGINT, 100.0, NOBODY)
    assert life.signal(SIGINT, 101.0, NOBODY) == [CLOSE]
    assert life.step(101.0, NOBODY) == [STOP]


def test_who_was_told_nothing_is_not_reassured() -> None:
    life = _serving(60, delay=5)
    life.drain(100.0, THREE)
    assert life.cancel() == []
    assert (life.phase, life.wake_at(), life.progress(101.0, THREE)) == (Phase.SERVING, None, None)


def test_the_deadline_moves_without_a_word_while_the_server_is_lame() -> None:
    life = _serving(60, delay=5)
    life.drain(100.0, THREE, 30)
    assert life.drain(101.0, THREE) == []
    assert life.drain(102.0, THREE, 300) == []
    assert (life.phase, life.wake_at()) == (Phase.LAMEDUCK, 105.0)
    assert life.step(105.0, THREE) == [ANNOUNCE]
    assert life.wake_at() == 405.0


def test_a_signal_takes_over_a_lame_server_and_its_delay() -> None:
    life = _serving(60, delay=5)
    life.drain(100.0, THREE)
    assert life.signal(SIGTERM, 103.0, THREE) == []
    with pytest.raises(NotDraining, match="signal"):
        life.cancel()
    assert life.step(105.0, THREE) == [ANNOUNCE]


def test_the_last_ones_are_closed_evenly_before_the_deadline() -> None:
    life = _serving(60, spread=30)
    life.signal(SIGTERM, 100.0, THREE)
    assert life.wake_at() == 130.0
    assert life.step(130.0, THREE) == []
    assert life.wake_at() == 140.0
    assert life.step(140.0, THREE) == [CloseOldest(1)]
    assert life.wake_at() == 150.0
    assert life.step(140.1, ClientCounts(2, 1, forced=1)) == []
    assert life.step(150.0, ClientCounts(2, forced=1)) == [CloseOldest(1)]
    assert life.step(160.0, ClientCounts(1, forced=2)) == [CLOSE]
    assert life.step(160.1, ClientCounts(forced=3)) == [STOP]
    assert life.exit_code is ExitCode.FORCED


def test_who_leaves_by_itself_is_one_less_to_close() -> None:
    life = _serving(60, spread=30)
    life.signal(SIGTERM, 100.0, THREE)
    life.step(131.0, THREE)
    assert life.step(135.0, ClientCounts(2, left=1)) == []
    assert life.step(140.0, ClientCounts(2, left=1)) == []
    assert life.step(151.0, ClientCounts(2, left=1)) == [CloseOldest(1)]


def test_who_was_closed_before_the_deadline_may_answer_when_the_last_has_left() -> None:
    life = _serving(60, spread=30)
    life.signal(SIGTERM, 100.0, THREE)
    life.step(130.0, THREE)
    life.step(140.0, THREE)
    assert life.step(141.0, ClientCounts(0, closing=1, left=2, forced=1)) == []
    assert (life.phase, life.wake_at()) == (Phase.CLOSING, 141.0 + CLOSE_TIMEOUT)
    assert life.step(142.0, ClientCounts(left=2, forced=1)) == [STOP]
    assert life.exit_code is ExitCode.FORCED


def test_a_longer_spread_than_the_timeout_is_all_of_it() -> None:
    life = _serving(60, delay=5, spread=1000)
    life.signal(SIGTERM, 100.0, THREE)
    assert life.step(105.0, THREE) == [ANNOUNCE]
    assert life.wake_at() == 125.0
    assert life.step(125.0, THREE) == [CloseOldest(1)]


def test_a_moved_deadline_moves_the_spread_and_begins_it_anew() -> None:
    life = _serving(60, spread=30)
    life.drain(100.0, THREE)
    life.step(140.0, THREE)
    two = ClientCounts(2, forced=1)
    assert life.drain(141.0, two, 100) == [ANNOUNCE]
    assert life.wake_at() == 211.0
    assert life.step(211.0, two) == []
    assert life.step(226.0, two) == [CloseOldest(1)]


def test_each_client_is_asked_to_leave_at_its_own_moment() -> None:
    life = _serving(60, window=10)
    assert life.signal(SIGTERM, 100.0, THREE) == [Invite(10)]
    assert _serving(6, window=10).signal(SIGTERM, 100.0, THREE) == [Invite(6)]


def test_clients_keep_their_moments_unless_the_deadline_comes_before_them() -> None:
    life = _serving(60, window=50)
    life.drain(100.0, THREE)
    assert life.drain(110.0, THREE, 300) == [ANNOUNCE]
    assert life.drain(111.0, THREE, 39) == [ANNOUNCE]
    assert life.drain(112.0, THREE, 20) == [Invite(20)]
    assert life.drain(112.0, THREE, 25) == [ANNOUNCE]


def test_a_forecast_comes_from_who_left_since_the_drain_began() -> None:
    life = _serving(60, delay=5)
    life.drain(100.0, ClientCounts(active=20))
    life.step(105.0, ClientCounts(active=12))
    for now, active, eta in ((107.0, 12, None), (109.0, 9, 12.0), (115.0, 6, 10.0)):
        counts = ClientCounts(active=active)
        life.step(now, counts)
        progress = life.progress(now, counts)
        assert progress
        assert progress.eta_s == eta


def test_a_worker_without_its_parent_has_little_time_and_waits_for_no_delay() -> None:
    life = _serving(60, delay=15, spread=30)
    assert life.orphan(100.0, THREE) == [ANNOUNCE]
    progress = life.progress(100.0, THREE)
    assert progress
    assert (progress.reason, progress.cancellable) == (ORPHANED, False)
    assert life.take_interventions()[-1].by == ORPHANED
    assert life.step(100.0 + ORPHAN_TIMEOUT, THREE) == [CLOSE]
    with pytest.raises(NotDraining):
        life.cancel()


def test_a_worker_that_has_less_time_anyway_has_no_more_without_its_parent() -> None:
    life = _serving(2)
    life.orphan(100.0, THREE)
    assert life.step(102.0, THREE) == [CLOSE]


@pytest.mark.parametrize(("delay", "phase"), [(0, Phase.DRAINING), (15, Phase.LAMEDUCK)])
@pytest.mark.parametrize("by_signal", [True, False])
def test_a_drain_under_way_is_cut_short_when_the_parent_is_gone(
    delay: float, phase: Phase, by_signal: bool
) -> None:
    life = _serving(60, delay)
    life.signal(SIGTERM, 100.0, THREE) if by_signal else life.drain(100.0, THREE)
    assert life.phase is phase
    assert life.orphan(101.0, THREE) == [ANNOUNCE]
    assert life.step(101.0 + ORPHAN_TIMEOUT, THREE) == [CLOSE]


def test_a_drain_that_ends_sooner_is_not_prolonged_by_the_end_of_the_parent() -> None:
    life = _serving(60)
    life.signal(SIGTERM, 100.0, THREE)
    assert life.orphan(159.0, THREE) == []
    assert life.step(160.0, THREE) == [CLOSE]


def test_a_handover_that_fails_since_the_parent_is_gone_leaves_little_time() -> None:
    life = _serving(60, delay=15)
    life.begin_handover()
    assert life.orphan(100.0, THREE) == []
    assert life.abort_handover(101.0, THREE) == [ANNOUNCE]
    assert life.step(101.0 + ORPHAN_TIMEOUT, THREE) == [CLOSE]


def test_a_handover_that_fails_changes_nothing() -> None:
    life = _serving(60)
    life.begin_handover()
    assert (life.phase, life.wake_at(), life.progress(100.0, THREE)) == (Phase.HANDOVER, None, None)
    assert life.step(100.0, NOBODY) == []
    assert life.abort_handover(101.0, THREE) == []
    assert life.phase is Phase.SERVING


def test_during_a_handover_a_drain_is_neither_begun_nor_cancelled() -> None:
    life = _serving(60)
    life.begin_handover()
    with pytest.raises(NotDraining, match="being handed over"):
        life.drain(100.0, THREE)
    with pytest.raises(NotDraining, match="being handed over"):
        life.cancel()


def test_a_signal_during_a_handover_takes_effect_when_it_failed() -> None:
    for delay, actions, phase in ((0.0, [ANNOUNCE], Phase.DRAINING), (5.0, [], Phase.LAMEDUCK)):
        life = _serving(60, delay)
        life.begin_handover()
        for signum, now in ((SIGTERM, 100.0), (SIGINT, 102.0), (SIGINT, 103.0)):
            assert life.signal(signum, now, THREE) == []
        assert life.abort_handover(110.0, THREE) == actions
        assert life.phase is phase
        progress = life.progress(110.0, THREE)
        assert progress
        assert (progress.reason, progress.remaining_s) == ("SIGTERM", 60 + delay)
        assert life.signal(SIGINT, 110.0, THREE) == [CLOSE]


def test_who_stays_behind_a_handover_is_asked_to_come_back_soon() -> None:
    for window, asked in ((0.0, HANDOVER_WINDOW), (3.0, 3.0)):
        life = _serving(60, delay=5, window=window)
        life.begin_handover()
        assert life.finish_handover(100.0, ClientCounts(active=3, handed_over=7)) == [Invite(asked)]
        assert life.wake_at() == 160.0
        progress = life.progress(101.0, ClientCounts(active=2, left=1, handed_over=7))
        assert progress
        assert (progress.reason, progress.cancellable, progress.handed_over) == ("handover", False, 7)
        assert (progress.started_with, progress.left) == (3, 1)
        with pytest.raises(NotDraining, match="successor"):
            life.cancel()


def test_a_reload_leaves_who_stays_behind_a_second_and_whom_it_closes_is_no_failure() -> None:
    life = _serving(60, delay=5, window=3.0)
    life.begin_handover()
    assert life.finish_handover(100.0, THREE, RELOAD) == [Action.ANNOUNCE]
    assert life.wake_at() == 100.0 + RELOAD_TIMEOUT
    progress = life.progress(100.0, THREE)
    assert progress
    assert progress.reason == "reload"
    assert life.step(100.0 + RELOAD_TIMEOUT, THREE) == [CLOSE]
    assert life.step(102.0, ClientCounts(forced=3)) == [STOP]
    assert life.exit_code is ExitCode.DONE


def test_a_reload_waits_no_longer_than_the_longest_drain() -> None:
    life = _serving(0.5)
    life.begin_handover()
    life.finish_handover(100.0, THREE, RELOAD)
    assert life.wake_at() == 100.5


def test_a_handover_of_everybody_ends_at_once_with_0() -> None:
    life = _serving(60)
    life.begin_handover()
    life.signal(SIGTERM, 99.0, THREE)
    assert life.finish_handover(100.0, ClientCounts(handed_over=3)) == [STOP]
    assert life.exit_code is ExitCode.DONE
    progress = life.progress(101.0, ClientCounts(handed_over=3))
    assert progress
    assert (progress.reason, progress.handed_over) == ("SIGTERM", 3)


def test_only_a_serving_server_is_handed_over_and_only_one_that_is_comes_out_of_it() -> None:
    lame, draining = _serving(60, delay=5), _serving(60)
    for life in (lame, draining):
        life.drain(100.0, THREE)
        with pytest.raises(NotDraining, match=f"{life.phase}, and only one that serves"):
            life.begin_handover()
    for life in (lame, draining, _serving(60)):
        with pytest.raises(IllegalMove):
            life.abort_handover(101.0, THREE)
        with pytest.raises(IllegalMove):
            life.finish_handover(101.0, THREE)
    lame.cancel()
    lame.begin_handover()


PACES = st.sampled_from([0.0, 3.0, 17.0, 100.0])


class Lives(RuleBasedStateMachine):
    """Any signals, requests, handovers and clients, in any order; the world obeys the actions."""

    def __init__(self) -> None:
        super().__init__()
        self.life = GracefulShutdownManager(Pace(30.0))
        self.now = 1000.0
        self.active = self.closing = self.left = self.forced = self.aborted = 0
        self.actions: list[Step] = []
        self.phase = self.life.phase
        self.first_signal: float | None = None
        self.last_key = 0.0
        self.operator = self.succeeded = False
        self.closed_at = 0.0

    def counts(self) -> ClientCounts:
        return ClientCounts(self.active, self.closing, self.left, forced=self.forced, aborted=self.aborted)

    @initialize(delay=PACES, spread=PACES, window=PACES)
    def pace(self, delay: float, spread: float, window: float) -> None:
        self.life = GracefulShutdownManager(Pace(30.0, delay, spread, window))

    def obey(self, actions: list[Step]) -> None:
        assert STOP not in self.actions or not actions
        self.actions += actions
        for action in actions:
            if action is CLOSE:
                self.closed_at = self.now
                self.forced += self.active
                self.closing += self.active
                self.active = 0
            elif isinstance(action, CloseOldest):
                assert 0 < action.count < self.active
                self.forced += action.count
                self.closing += action.count
                self.active -= action.count
            elif action is ABORT:
                cut = min(self.closing, self.forced)
                self.forced, self.aborted, self.closing = self.forced - cut, self.aborted + cut, 0

    @precondition(lambda self: self.life.phase is Phase.STARTING)
    @rule()
    def start(self) -> None:
        self.life.started()

    @rule(signum=st.sampled_from([SIGINT, SIGTERM]))
    def signal(self, signum: int) -> None:
        was, first = self.life.phase, self.first_signal
        again = signum == SIGINT and self.now - self.last_key >= SAME_KEY
        force = first is not None and again and self.now - first >= FORCE_AFTER
        if was not in (Phase.STARTING, Phase.STOPPED):
            self.first_signal = self.now if first is None else first
            self.last_key = self.now if signum == SIGINT else self.last_key
        actions = self.life.signal(signum, self.now, self.counts())
        if first is not None and not force:
            assert actions == []
        if force and was in (Phase.LAMEDUCK, Phase.DRAINING):
            assert actions == [CLOSE]
            self.operator = True
        if force and was is Phase.CLOSING:
            assert actions == [ABORT, STOP]
            self.operator = True
        self.obey(actions)

    @rule(timeout=st.none() | st.sampled_from([0.0, 5.0, 100.0]))
    def drain(self, timeout: float | None) -> None:
        was = self.life.phase
        try:
            actions = self.life.drain(self.now, self.counts(), timeout)
        except NotDraining:
            assert was not in (Phase.SERVING, Phase.LAMEDUCK, Phase.DRAINING)
        else:
            self.obey(actions)

    @rule()
    def cancel(self) -> None:
        was = self.life.phase
        try:
            actions = self.life.cancel()
        except NotDraining:
            assert was not in (Phase.LAMEDUCK, Phase.DRAINING) or self.first_signal or self.succeeded
        else:
            assert self.first_signal is None
            assert actions == ([ANNOUNCE_CANCEL] if was is Phase.DRAINING else [])

    @precondition(lambda self: self.life.phase is Phase.SERVING)
    @rule()
    def hand_over(self) -> None:
        self.life.begin_handover()

    @precondition(lambda self: self.life.phase is Phase.HANDOVER)
    @rule()
    def stay(self) -> None:
        self.obey(self.life.abort_handover(self.now, self.counts()))
        assert (self.life.phase is Phase.SERVING) == (self.first_signal is None)

    @precondition(lambda self: self.life.phase is Phase.HANDOVER)
    @rule(share=st.sampled_from([0.0, 0.5, 1.0]))
    def handed_over(self, share: float) -> None:
        self.active -= int(share * self.active)
        self.succeeded = True
        self.obey(self.life.finish_handover(self.now, self.counts()))

    @precondition(lambda self: self.life.phase in (Phase.SERVING, Phase.LAMEDUCK, Phase.HANDOVER))
    @rule(count=st.integers(1, 5))
    def arrive(self, count: int) -> None:
        self.active += count

    @precondition(lambda self: self.active)
    @rule()
    def leave(self) -> None:
        self.active, self.left = self.active - 1, self.left + 1
        self.obey(self.life.step(self.now, self.counts()))

    @precondition(lambda self: self.closing)
    @rule()
    def answer(self) -> None:
        self.closing -= 1
        self.obey(self.life.step(self.now, self.counts()))

    @rule(seconds=st.sampled_from([0.0, 0.3, 1.0, 4.0, 40.0]))
    def pass_time(self, seconds: float) -> None:
        until, due = self.now + seconds, self.life.wake_at()
        while due is not None and due <= until:
            self.now = max(self.now, due)
            self.obey(self.life.step(self.now, self.counts()))
            assert self.life.wake_at() != due, "a due step must change something"
            due = self.life.wake_at()
        self.now = until

    @invariant()
    def phases_follow_the_table(self) -> None:
        now = self.life.phase
        reachable = {self.phase, *MOVES[self.phase]}
        for _ in range(
            2
        ):  # a rule makes at most three moves: out of a handover, and a drain that ends at once
            reachable |= {later for phase in list(reachable) for later in MOVES[phase]}
        assert now in reachable
        assert self.phase is not Phase.STOPPED or now is Phase.STOPPED
        self.phase = now

    @invariant()
    def stop_is_the_last_word_and_said_once(self) -> None:
        assert (self.life.phase is Phase.STOPPED) == (STOP in self.actions)
        assert self.actions.count(STOP) <= 1
        assert self.actions.count(CLOSE) <= 1
        closed = any(action is CLOSE or isinstance(action, CloseOldest) for action in self.actions)
        assert ABORT not in self.actions or closed

    @invariant()
    def closing_lasts_no_longer_than_its_timeout(self) -> None:
        if self.life.phase is Phase.CLOSING and CLOSE in self.actions:
            assert self.now < self.closed_at + CLOSE_TIMEOUT

    @invariant()
    def draining_ends_with_the_deadline_or_the_last_client(self) -> None:
        if self.life.phase is Phase.DRAINING:
            assert self.active
            assert (self.life.wake_at() or 0) > self.now

    @invariant()
    def the_exit_code_tells_the_history(self) -> None:
        if self.life.phase is not Phase.STOPPED:
            return
        progress = self.life.progress(self.now, self.counts())
        forced = progress and progress.forced + progress.aborted
        wanted = ExitCode.FORCED if forced else ExitCode.DONE
        assert self.life.exit_code is (ExitCode.OPERATOR if self.operator else wanted)
        assert CLOSE not in self.actions or forced or self.operator

    @invariant()
    def the_last_has_left_at_the_deadline_at_the_latest(self) -> None:
        progress = self.life.progress(self.now, self.counts())
        if progress and progress.eta_s is not None:
            assert self.life.phase is Phase.DRAINING
            assert 0 <= progress.eta_s <= progress.remaining_s

    @invariant()
    def everybody_is_accounted_for(self) -> None:
        progress = self.life.progress(self.now, self.counts())
        if progress:
            ended = progress.left + progress.evicted + progress.forced + progress.aborted
            assert progress.active + ended == progress.started_with
            assert min(progress.elapsed_s, progress.remaining_s, progress.left, progress.forced) >= 0


TestLives = Lives.TestCase
TestLives.settings = examples(120, stateful_step_count=25, deadline=None)
