"""How a server ends: every decision, with the time and the signals as arguments."""

from signal import SIGINT, SIGTERM

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from wsctl.codes import ExitCode
from wsctl.hub.connection import CLOSE_TIMEOUT
from wsctl.lifecycle.graceful import (
    FORCE_AFTER,
    Action,
    Counts,
    GracefulShutdownManager,
    NotDraining,
)
from wsctl.lifecycle.phases import MOVES, Phase

THREE = Counts(active=3, oldest="bob")
NOBODY = Counts()
ANNOUNCE, REASSURE, CLOSE, ABORT, STOP = (
    Action.ANNOUNCE,
    Action.REASSURE,
    Action.CLOSE,
    Action.ABORT,
    Action.STOP,
)


def _serving(timeout: float = 60.0) -> GracefulShutdownManager:
    manager = GracefulShutdownManager(timeout)
    manager.started()
    return manager


@pytest.mark.parametrize("signum", [SIGTERM, SIGINT])
def test_the_first_signal_drains_until_the_last_client_has_left(signum: int) -> None:
    life = _serving()
    assert life.signal(signum, 100.0, THREE) == [ANNOUNCE]
    assert life.phase is Phase.DRAINING
    assert life.wake_at() == 160.0
    assert life.step(130.0, Counts(active=1, left=2)) == []
    assert life.step(140.0, Counts(left=3)) == [STOP]
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
    half = Counts(closing=1, forced=3)
    assert life.step(169.9, half) == []
    assert life.step(170.0, half) == [ABORT, STOP]
    assert life.exit_code is ExitCode.FORCED


def test_it_stops_as_soon_as_every_close_is_answered() -> None:
    life = _serving(0)
    assert life.signal(SIGTERM, 100.0, THREE) == [CLOSE]
    assert life.step(100.2, Counts(forced=3)) == [STOP]
    assert life.exit_code is ExitCode.FORCED


def test_clients_that_leave_at_the_deadline_are_not_forced() -> None:
    life = _serving(60)
    life.signal(SIGTERM, 100.0, THREE)
    assert life.step(160.0, Counts(left=3)) == [STOP]
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
    assert life.signal(SIGINT, 100.0 + FORCE_AFTER - 0.01, THREE) == []
    assert life.phase is Phase.DRAINING
    assert life.signal(SIGINT, 100.0 + FORCE_AFTER, THREE) == [CLOSE]
    assert life.phase is Phase.CLOSING
    assert life.wake_at() == 101.0 + CLOSE_TIMEOUT
    assert life.signal(SIGTERM, 101.5, THREE) == []
    assert life.signal(SIGINT, 101.5, Counts(closing=3, forced=3)) == [ABORT, STOP]
    assert life.exit_code is ExitCode.OPERATOR == 130


def test_one_sigint_in_closing_aborts_and_is_the_operator_s_doing() -> None:
    life = _serving(10)
    life.signal(SIGTERM, 100.0, THREE)
    life.step(110.0, THREE)
    assert life.signal(SIGINT, 111.0, Counts(closing=2, forced=3)) == [ABORT, STOP]
    assert life.exit_code is ExitCode.OPERATOR


@pytest.mark.parametrize("second", [SIGTERM, SIGINT])
def test_a_signal_before_serving_stops_and_the_next_ones_do_nothing(second: int) -> None:
    life = GracefulShutdownManager(60)
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
    assert life.cancel() == [REASSURE]
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
    starting = GracefulShutdownManager(60)
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
    before = Counts(active=3, left=10, evicted=4, oldest="bob")
    assert life.progress(99.0, before) is None
    life.signal(SIGTERM, 100.0, before)
    progress = life.progress(110.5, Counts(active=1, closing=1, left=11, evicted=5, oldest="eve"))
    assert progress
    assert (progress.started_with, progress.active, progress.oldest) == (3, 1, "eve")
    assert (progress.elapsed_s, progress.remaining_s) == (10.5, 49.5)
    assert (progress.left, progress.evicted, progress.forced, progress.aborted) == (1, 1, 0, 0)


def test_clients_forced_in_a_cancelled_drain_do_not_colour_a_later_one() -> None:
    life = _serving()
    life.drain(100.0, THREE)
    life.cancel()
    assert life.drain(200.0, Counts(forced=2, aborted=1)) == [STOP]
    assert life.exit_code is ExitCode.DONE


def test_the_clock_of_a_drain_stands_once_it_has_ended() -> None:
    life = _serving()
    life.signal(SIGTERM, 100.0, THREE)
    life.step(107.0, Counts(left=3))
    progress = life.progress(999.0, Counts(left=3))
    assert progress
    assert (progress.elapsed_s, progress.remaining_s) == (7.0, 53.0)


class Lives(RuleBasedStateMachine):
    """Any signals, requests and clients, in any order; the world obeys the actions."""

    def __init__(self) -> None:
        super().__init__()
        self.life = GracefulShutdownManager(30.0)
        self.now = 1000.0
        self.active = self.closing = self.left = self.forced = self.aborted = 0
        self.actions: list[Action] = []
        self.phase = self.life.phase
        self.first_signal: float | None = None
        self.operator = False
        self.closed_at = 0.0

    def counts(self) -> Counts:
        return Counts(self.active, self.closing, self.left, forced=self.forced, aborted=self.aborted)

    def obey(self, actions: list[Action]) -> None:
        assert STOP not in self.actions or not actions
        self.actions += actions
        for action in actions:
            if action is CLOSE:
                self.closed_at = self.now
                self.forced += self.active
                self.closing += self.active
                self.active = 0
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
        force = first is not None and signum == SIGINT and self.now - first >= FORCE_AFTER
        if was not in (Phase.STARTING, Phase.STOPPED) and first is None:
            self.first_signal = self.now
        actions = self.life.signal(signum, self.now, self.counts())
        if first is not None and not force:
            assert actions == []
        if force and was is Phase.DRAINING:
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
            assert was not in (Phase.SERVING, Phase.DRAINING)
        else:
            self.obey(actions)

    @rule()
    def cancel(self) -> None:
        was = self.life.phase
        try:
            actions = self.life.cancel()
        except NotDraining:
            assert was is not Phase.DRAINING or self.first_signal is not None
        else:
            assert self.first_signal is None
            self.obey(actions)

    @precondition(lambda self: self.life.phase is Phase.SERVING)
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
        reachable |= {later for phase in list(reachable) for later in MOVES[phase]}
        assert now in reachable
        assert self.phase is not Phase.STOPPED or now is Phase.STOPPED
        self.phase = now

    @invariant()
    def stop_is_the_last_word_and_said_once(self) -> None:
        assert (self.life.phase is Phase.STOPPED) == (STOP in self.actions)
        assert self.actions.count(STOP) <= 1
        assert self.actions.count(CLOSE) <= 1
        assert ABORT not in self.actions or CLOSE in self.actions

    @invariant()
    def closing_lasts_no_longer_than_its_timeout(self) -> None:
        if self.life.phase is Phase.CLOSING:
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
        wanted = ExitCode.DONE
        if CLOSE in self.actions:
            wanted = ExitCode.OPERATOR if self.operator else ExitCode.FORCED
        assert self.life.exit_code is wanted

    @invariant()
    def everybody_is_accounted_for(self) -> None:
        progress = self.life.progress(self.now, self.counts())
        if progress:
            ended = progress.left + progress.evicted + progress.forced + progress.aborted
            assert progress.active + ended == progress.started_with
            assert min(progress.elapsed_s, progress.remaining_s, progress.left, progress.forced) >= 0


TestLives = Lives.TestCase
TestLives.settings = settings(max_examples=120, stateful_step_count=25, deadline=None)
