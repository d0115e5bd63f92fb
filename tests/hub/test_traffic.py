"""What went through a manager."""

import os
import socket
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.connections import RecordedConnection
from wsctl.codes import CloseCode
from wsctl.frame import Batch, Encoding
from wsctl.hub.connection import EndReason
from wsctl.hub.manager import ConnectionManager
from wsctl.hub.traffic import BOUNDS, KNOWN, OTHER, Backlog, Durations, Traffic
from wsctl.log.history import Entry, Missed

WELCOME = Batch((b'"welcome"',))


class Slow(RecordedConnection):
    """One for whom something waits."""

    held = 0

    @property
    def waiting(self) -> int:
        return self.held


class Ticking:
    """A clock on which each look takes a hundredth of a second."""

    now = 0.0

    def __call__(self) -> float:
        self.now += 0.01
        return self.now


@pytest.fixture
def manager() -> ConnectionManager:
    return ConnectionManager(Ticking(), lambda call: None)


def joined(
    manager: ConnectionManager, *connections: RecordedConnection, missed: Sequence[Batch] = ()
) -> None:
    for connection in connections:
        connection.manager = manager
        entries = [Entry((1, n), batch, None) for n, batch in enumerate(missed)]
        manager.connect(connection, WELCOME, Missed(entries, connection.client_id, 0))


def test_codes_that_peers_invent_are_counted_as_one() -> None:
    traffic = Traffic()
    for code in range(65_536):
        traffic.ended(code, EndReason.LEFT)
    assert set(traffic.closed) == {*KNOWN, OTHER}
    assert set(CloseCode) < KNOWN
    assert len(KNOWN) < 20
    assert traffic.closed[OTHER] == 65_536 - len(KNOWN)


def test_a_slow_client_is_one_that_was_cut_and_not_one_that_says_so() -> None:
    traffic = Traffic()
    for code, end_reason in (
        (CloseCode.TRY_AGAIN_LATER, EndReason.EVICTED),
        (CloseCode.TRY_AGAIN_LATER, EndReason.LEFT),
        (CloseCode.POLICY_VIOLATION, EndReason.EVICTED),
    ):
        traffic.ended(code, end_reason)
    assert traffic.cut_slow == 1


def test_who_came_and_went_adds_up(manager: ConnectionManager) -> None:
    bob, bob_again, eve = (RecordedConnection(name, manager) for name in ("bob", "bob", "eve"))
    joined(manager, bob, bob_again)
    manager.adopt(eve, ())
    manager.retire(bob_again, 4123, "", EndReason.LEFT)
    manager.release(eve)
    traffic = manager.traffic
    assert (traffic.opened, traffic.adopted, traffic.released) == (2, 1, 1)
    assert traffic.closed == {CloseCode.REPLACED: 1, OTHER: 1}


def test_every_byte_for_a_client_is_counted_on_each_way_to_it(manager: ConnectionManager) -> None:
    missed, direct = Batch((b"missed",)), Batch((b"direct",))
    joined(manager, *(RecordedConnection(name) for name in ("bob", "eve")), missed=[missed])
    manager.broadcast(b"to both")
    manager.deliver(Entry((1, 0), direct, ("eve",)))
    manager.send_each([b"your", b"moment"])
    offered = [c.offered for c in manager.active_connections.values() if isinstance(c, RecordedConnection)]
    assert manager.traffic.sent_bytes == sum(len(batch.wire) for each in offered for batch in each)


def test_bytes_that_are_written_directly_are_counted_compressed_where_they_are(
    manager: ConnectionManager,
) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        plain, small = RecordedConnection("plain"), RecordedConnection("small")
        small.encoding = Encoding.DEFLATE
        small.fd = ours.fileno()
        joined(manager, plain, small)
        before = manager.traffic.sent_bytes
        payload = b'"' + b"a" * 5000 + b'"'
        manager.broadcast(payload)
        manager.flush()
        written = len(theirs.recv(1 << 16))
        assert written < 1000
        assert manager.traffic.sent_bytes - before == written + len(Batch((payload,)).wire)


def test_each_flush_is_timed_once(manager: ConnectionManager) -> None:
    joined(manager, RecordedConnection("bob"))
    for _ in range(3):
        manager.broadcast(b"one")
        manager.broadcast(b"two")
        manager.flush()
        manager.flush()
    assert sum(manager.traffic.broadcasts.counts) == 3
    assert manager.traffic.broadcasts.total == pytest.approx(0.03)


def test_the_backlog_is_of_those_who_are_behind_and_looks_at_nobody_else(manager: ConnectionManager) -> None:
    class Quick(RecordedConnection):
        @property
        def waiting(self) -> int:
            raise AssertionError("nothing waits for it")

    null = os.open(os.devnull, os.O_WRONLY)
    try:
        quick, little, much, gone = Quick("quick"), Slow("little"), Slow("much"), Slow("gone")
        quick.fd = little.fd = null
        little.held, much.held, gone.held = 10, 300, 1000
        joined(manager, quick, little, much, gone, RecordedConnection("nothing"))
        assert manager.backlog() == Backlog(2, 1300, 1000)
        little.behind = True
        manager.settle(little)
        gone.close(1000, "", EndReason.FORCED)
        assert manager.backlog() == Backlog(2, 310, 300)
    finally:
        os.close(null)


def test_nobody_has_no_backlog(manager: ConnectionManager) -> None:
    assert manager.backlog() == Backlog(0, 0, 0)


@given(st.lists(st.sampled_from(BOUNDS) | st.floats(0, 10)))
def test_each_time_is_in_the_first_bucket_it_fits(times: list[float]) -> None:
    durations = Durations()
    for time in times:
        durations.note(time)
    for n, bound in enumerate(BOUNDS):
        assert sum(durations.counts[: n + 1]) == sum(time <= bound for time in times)
    assert sum(durations.counts) == len(times)
    assert durations.total == sum(times)


def test_the_bounds_go_up() -> None:
    assert list(BOUNDS) == sorted(set(BOUNDS))
