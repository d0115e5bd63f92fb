"""Who is connected, what they get, and how their stays are counted."""

import logging
from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import frames
from tests.support.connections import RecordedConnection
from tests.support.entries import missed_by
from tests.support.sizes import examples
from wsctl.frame import Batch
from wsctl.hub.connection import EndReason
from wsctl.hub.manager import ConnectionManager
from wsctl.log.message_log import MessageLog


class Hub:
    """A manager on a loop whose iterations are run by hand."""

    def __init__(self) -> None:
        self.now = 100.0
        self.soon: list[Callable[[], None]] = []
        self.manager = ConnectionManager(lambda: self.now, self.soon.append)
        self.log = MessageLog(self.manager.deliver, 100, 100_000, lambda: self.now)

    def join(self, name: str, since: str = "") -> RecordedConnection:
        connection = RecordedConnection(name, self.manager, self.now)
        self.manager.connect(connection, Batch((b'"welcome"',)), self.log.missed(since, name).missed)
        return connection

    def adopt(self, name: str, *missed: Batch) -> RecordedConnection:
        connection = RecordedConnection(name, self.manager, self.now)
        self.manager.adopt(connection, missed)
        return connection

    def for_all(self, what: str) -> None:
        if what == "iterate":
            self.iterate()
        elif what == "close_all":
            self.manager.close_all(1012, "restart")
        elif what == "abort":
            self.manager.abort_closing()

    def iterate(self) -> None:
        due, self.soon[:] = self.soon[:], []
        for call in due:
            call()


def _data(connection: RecordedConnection) -> list[object]:
    """The data of the messages it got, after the welcome."""
    assert connection.payloads[0] == b'"welcome"'
    return [frames.read(payload)["data"] for payload in connection.payloads[1:]]


def test_messages_of_one_iteration_arrive_joined_as_the_same_batch_for_all() -> None:
    hub = Hub()
    bob, eve = hub.join("bob"), hub.join("eve")
    for n in range(3):
        hub.log.append("bob", n)
    assert _data(bob) == []
    hub.iterate()
    assert _data(bob) == _data(eve) == [0, 1, 2]
    assert bob.offered[1] is eve.offered[1]
    assert len(bob.offered) == 2
    assert hub.manager.delivered == 6


def test_nothing_is_gathered_for_nobody() -> None:
    hub = Hub()
    hub.log.append("x", 1)
    assert hub.soon == []
    bob = hub.join("bob")
    hub.iterate()
    assert _data(bob) == []


def test_a_newcomer_gets_its_welcome_first_and_nothing_from_before() -> None:
    hub = Hub()
    bob = hub.join("bob")
    hub.log.append("bob", "before")
    eve = hub.join("eve")
    hub.log.append("bob", "after")
    hub.iterate()
    assert _data(bob) == ["before", "after"]
    assert _data(eve) == ["after"]


def test_who_comes_back_gets_the_welcome_then_what_it_missed_then_the_rest() -> None:
    hub = Hub()
    seen = hub.log.newest
    hub.log.append("x", "sent before")
    hub.iterate()
    hub.log.append("x", "still gathered")
    bob = hub.join("bob", since=seen)
    hub.log.append("x", "after")
    hub.iterate()
    assert _data(bob) == ["sent before", "still gathered", "after"]
    assert hub.manager.delivered == 3


def test_delivering_tells_to_how_many() -> None:
    hub = Hub()
    counts: list[int] = []
    for name in ("bob", "eve", "ann"):
        hub.join(name)
    for to in (None, ("eve", "nobody"), (), ("bob", "ann")):
        hub.log.append("x", 1, to, lambda _, recipients: counts.append(recipients))
    assert counts == [3, 1, 0, 2]


def test_who_is_released_goes_on_elsewhere_without_a_word(caplog: pytest.LogCaptureFixture) -> None:
    hub = Hub()
    bob, eve = hub.join("bob"), hub.join("eve")
    hub.log.append("x", 1)
    hub.iterate()
    with caplog.at_level(logging.INFO, "wsctl.hub"):
        hub.manager.release(bob)
    hub.log.append("x", 2)
    hub.log.append("x", 3, ("bob",))
    hub.iterate()
    assert _data(bob) == [1]
    assert _data(eve) == [1, 2]
    assert list(hub.manager.active_connections.values()) == [eve]
    assert not hub.manager.closing
    assert hub.manager.tally == Counter({EndReason.HANDED_OVER: 1})
    assert (bob.closed, bob.aborted) == (None, None)
    assert caplog.records == []


def test_who_is_adopted_gets_what_it_missed_and_no_welcome(caplog: pytest.LogCaptureFixture) -> None:
    hub = Hub()
    hub.join("eve")
    seen = hub.log.newest
    hub.log.append("x", "missed, and still gathered here")
    with caplog.at_level(logging.INFO, "wsctl.hub"):
        bob = hub.adopt("bob", *(missed_by(hub.log, seen, "bob") or ()))
    hub.log.append("x", "after")
    hub.iterate()
    assert [frames.read(payload)["data"] for payload in bob.payloads] == [
        "missed, and still gathered here",
        "after",
    ]
    assert list(hub.manager.clients) == ["eve", "bob"]
    assert caplog.records == []


def test_a_newer_connection_of_an_id_stays_and_the_adopted_one_is_closed_with_4501() -> None:
    hub = Hub()
    newer = hub.join("bob")
    hub.log.append("x", 1)
    older = hub.adopt("bob")
    hub.iterate()
    assert older.closed
    assert older.closed[0::2] == (4501, EndReason.EVICTED)
    assert hub.manager.clients == {"bob": newer}
    assert hub.manager.closing == {older}
    assert _data(newer) == [1]
    hub.manager.forget(older)
    assert hub.manager.clients == {"bob": newer}


def test_only_messages_count_as_delivered_to_who_is_adopted() -> None:
    hub = Hub()
    hub.adopt("bob", Batch(wire=b"the end of a frame"), Batch((b"1",)))
    assert hub.manager.delivered == 1


def test_a_direct_message_reaches_its_addressees_alone_and_in_its_place() -> None:
    hub = Hub()
    bob, eve = hub.join("bob"), hub.join("eve")
    hub.log.append("x", 1)
    hub.log.append("x", 2, ("eve", "nobody"))
    hub.log.append("x", 3)
    hub.iterate()
    assert _data(bob) == [1, 3]
    assert _data(eve) == [1, 2, 3]
    assert hub.manager.delivered == 5


def test_a_message_that_is_not_json_reaches_nobody() -> None:
    hub = Hub()
    bob = hub.join("bob")
    with pytest.raises(ValueError, match="JSON"):
        hub.log.append("x", float("nan"))
    hub.iterate()
    assert _data(bob) == []


def test_a_newer_connection_of_an_id_closes_the_older_with_4501() -> None:
    hub = Hub()
    older = hub.join("bob")
    hub.log.append("x", "for the older one")
    newer = hub.join("bob")
    assert older.closed
    assert older.closed[0::2] == (4501, EndReason.EVICTED)
    assert _data(older) == ["for the older one"]
    assert list(hub.manager.active_connections.values()) == [newer]
    hub.manager.forget(older)
    assert hub.manager.clients == {"bob": newer}
    assert hub.manager.tally == Counter({EndReason.EVICTED: 1})


def test_the_one_connected_longest_comes_first() -> None:
    hub = Hub()
    for name in ("bob", "eve", "ann", "bob"):
        hub.join(name)
    assert list(hub.manager.clients) == ["eve", "ann", "bob"]


def test_a_stay_ends_once_and_is_counted_once() -> None:
    hub = Hub()
    bob = hub.join("bob")
    hub.manager.retire(bob, 1000, "bye", EndReason.LEFT)
    hub.manager.retire(bob, 1012, "restart", EndReason.FORCED)
    assert (bob.code, bob.reason, bob.end_reason) == (1000, "bye", EndReason.LEFT)
    assert hub.manager.closing == {bob}
    hub.manager.forget(bob)
    assert not hub.manager.closing
    assert hub.manager.tally == Counter({EndReason.LEFT: 1})


def test_what_vanishes_without_a_word_has_left() -> None:
    hub = Hub()
    bob = hub.join("bob")
    hub.manager.forget(bob)
    assert (bob.code, bob.end_reason) == (1006, EndReason.LEFT)
    assert bob.reason


def test_closing_all_sends_what_waits_and_then_closes_each() -> None:
    hub = Hub()
    clients = [hub.join(name) for name in ("bob", "eve")]
    hub.log.append("x", "last words")
    hub.manager.close_all(1012, "restart")
    for client in clients:
        assert _data(client) == ["last words"]
        assert client.closed == (1012, "restart", EndReason.FORCED)
    assert not hub.manager.active_connections
    assert hub.manager.tally[EndReason.FORCED] == 2


def test_only_those_closed_by_force_become_aborted() -> None:
    hub = Hub()
    bob, eve, ann = (hub.join(name) for name in ("bob", "eve", "ann"))
    hub.manager.retire(bob, 1000, "bye", EndReason.LEFT)
    hub.manager.close_all(1012, "restart")
    hub.manager.forget(ann)
    bob.missed, eve.missed = 7, 3
    hub.manager.abort_closing()
    assert hub.manager.undelivered == 3
    assert bob.aborted
    assert eve.aborted
    assert ann.aborted is None
    assert +hub.manager.tally == Counter({EndReason.LEFT: 1, EndReason.FORCED: 1, EndReason.ABORTED: 1})
    hub.manager.abort_closing()
    assert hub.manager.undelivered == 3


def test_the_closing_are_looked_after_too() -> None:
    hub = Hub()
    bob, eve = hub.join("bob"), hub.join("eve")
    hub.manager.retire(eve, 1000, "bye", EndReason.LEFT)
    hub.manager.check(5.0)
    assert bob.checked == eve.checked == [5.0]


def test_a_connect_and_a_disconnect_are_one_log_line_each(caplog: pytest.LogCaptureFixture) -> None:
    hub = Hub()
    with caplog.at_level(logging.INFO, "wsctl.hub"):
        bob = hub.join("bob")
        hub.now += 2.5
        hub.manager.retire(bob, 1001, "bye", EndReason.LEFT)
        hub.manager.forget(bob)
    facts = {"client_id": "bob", "address": "192.0.2.1:5"}
    assert [(record.getMessage(), record.__dict__["fields"]) for record in caplog.records] == [
        ("connected", facts),
        ("disconnected", facts | {"code": 1001, "reason": "bye", "duration_s": 2.5}),
    ]


NAMES = st.sampled_from(["bob", "eve", "ann"])
STEPS = st.lists(
    st.tuples(st.sampled_from(["join", "leave", "forget", "send", "tell"]), NAMES)
    | st.tuples(st.sampled_from(["iterate", "close_all", "abort"]), st.just("")),
    max_size=40,
)


@examples(150)
@given(STEPS)
def test_whatever_happens_messages_keep_their_order_and_stays_add_up(steps: list[tuple[str, str]]) -> None:
    hub = Hub()
    manager, joined, changes = hub.manager, [], Counter[str]()
    manager.observers.append(lambda: changes.update(["seen"]))
    for what, name in steps:
        active = manager.clients.get(name)
        if what == "join":
            joined.append(hub.join(name))
        elif what == "leave" and active:
            manager.retire(active, 1000, "bye", EndReason.LEFT)
        elif what == "forget":
            for connection in [c for c in joined if c.client_id == name and c in manager.closing]:
                manager.forget(connection)
        elif what in ("send", "tell"):
            hub.log.append("x", len(steps), (name,) if what == "tell" else None)
        else:
            hub.for_all(what)
        assert sum(manager.tally.values()) + len(manager.active_connections) == len(joined)
        assert min(manager.tally.values(), default=0) >= 0
        assert manager.traffic.opened == len(joined)
        assert manager.traffic.closed == Counter(c.code for c in joined if c.end_reason is not None)
        assert not set(manager.active_connections.values()) & manager.closing
    hub.iterate()
    for connection in joined:
        ids = [frames.read(payload)["id"] for payload in connection.payloads[1:]]
        order = [tuple(map(int, i.split("-"))) for i in ids]
        assert order == sorted(set(order))
    assert bool(changes) == bool(joined)


def test_a_delivered_message_is_the_documented_frame() -> None:
    hub = Hub()
    bob = hub.join("bob")
    hub.log.append("eve", "hi", ("bob",))
    assert frames.read(bob.payloads[1]) == {
        "type": "message",
        "id": "100000-1",
        "ts": 100.0,
        "from": "eve",
        "data": "hi",
        "to": ["bob"],
    }
