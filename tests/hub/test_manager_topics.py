"""Messages of topics reach their subscribers alone, in the order of all messages and in few writes."""

from collections.abc import Callable
from itertools import groupby

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import frames
from tests.support.connections import RecordedConnection
from tests.support.sizes import examples
from wsctl.frame import DEFLATE_ABOVE, Batch, Encoding
from wsctl.hub.connection import NO_SUBSCRIPTIONS, EndReason
from wsctl.hub.manager import ConnectionManager
from wsctl.log.message_log import MessageLog
from wsctl.topics import matches


class Hub:
    """A manager on a loop whose iterations are run by hand."""

    def __init__(self, connections_per_id: int = 1) -> None:
        self.now = 100.0
        self.soon: list[Callable[[], None]] = []
        self.manager = ConnectionManager(
            lambda: self.now, self.soon.append, connections_per_id=connections_per_id
        )
        self.log = MessageLog(self.manager.deliver, 100, 1_000_000, lambda: self.now)
        self.recipients: list[int] = []

    def join(self, name: str, *topics: str, deflate: bool = False) -> RecordedConnection:
        self.now += 1
        connection = RecordedConnection(name, self.manager, self.now)
        connection.encoding = Encoding(deflate)
        connection.subscriptions = dict.fromkeys(topics, False) or NO_SUBSCRIPTIONS
        self.manager.connect(connection, Batch((b'"welcome"',)))
        return connection

    def publish(self, data: object, topic: str | None = None, to: tuple[str, ...] | None = None) -> None:
        self.log.append("x", data, to, lambda _, recipients: self.recipients.append(recipients), topic=topic)

    def iterate(self) -> None:
        due, self.soon[:] = self.soon[:], []
        for call in due:
            call()


def _data(connection: RecordedConnection) -> list[object]:
    return [frames.read(payload)["data"] for payload in connection.payloads[1:]]


def _writes(connection: RecordedConnection) -> list[list[object]]:
    """The data of each batch behind the welcome."""
    return [[frames.read(p)["data"] for p in batch.payloads] for batch in connection.offered[1:]]


def test_a_message_of_a_topic_reaches_each_subscriber_once() -> None:
    hub = Hub()
    bob = hub.join("bob", "a.b", "a.*", ">")
    eve = hub.join("eve", "a.c")
    ann = hub.join("ann")
    hub.publish(1, "a.b")
    hub.publish(2, "a.c")
    hub.publish(3, "b")
    hub.publish(4)
    hub.iterate()
    assert _data(bob) == [1, 2, 3, 4]
    assert _data(eve) == [2, 4]
    assert _data(ann) == [4]
    assert hub.recipients == [1, 2, 1, 3]
    assert hub.manager.delivered == 7


def test_a_message_of_a_topic_for_some_reaches_those_of_them_that_subscribe() -> None:
    hub = Hub()
    bob, eve, ann = hub.join("bob", "a"), hub.join("eve"), hub.join("ann", "a")
    hub.publish(1, "a")
    hub.publish(2, "a", ("bob", "eve", "nobody"))
    hub.publish(3, "a")
    hub.iterate()
    assert (_data(bob), _data(eve), _data(ann)) == ([1, 2, 3], [], [1, 3])
    assert hub.recipients == [2, 1, 2]
    assert hub.manager.delivered == 5


def test_subscribing_and_its_end_count_from_the_next_message_on() -> None:
    hub = Hub()
    bob = hub.join("bob")
    hub.publish(1, "a")
    hub.manager.subscribe(bob, {"a": False, "b.*": False})
    hub.publish(2, "a")
    hub.publish(3, "b.c")
    hub.manager.unsubscribe(bob, ["a", "unknown"])
    assert _data(bob) == [2, 3]
    hub.publish(4, "a")
    hub.publish(5, "b.c")
    hub.iterate()
    assert _data(bob) == [2, 3, 5]
    assert bob.subscriptions == {"b.*": False}


def test_subscribing_again_changes_only_whether_it_is_told_who_comes_and_goes() -> None:
    hub = Hub()
    seen: list[dict[str, bool]] = []
    hub.manager.subscribed.append(lambda connection: seen.append(dict(connection.subscriptions)))
    bob = hub.join("bob", "a")
    hub.manager.subscribe(bob, {"a": True, "b": False})
    hub.manager.unsubscribe(bob, ["b"])
    hub.publish(1, "a")
    hub.iterate()
    assert _data(bob) == [1]
    assert seen == [{"a": True, "b": False}, {"a": True}]
    assert len(hub.manager.subscriptions) == 1


@pytest.mark.parametrize("how", ["retired", "released", "replaced"])
def test_subscriptions_end_with_their_connection(how: str) -> None:
    hub = Hub()
    bob = hub.join("bob", "a", "b.*")
    if how == "retired":
        hub.manager.retire(bob, 1000, "bye", EndReason.LEFT)
    elif how == "released":
        hub.manager.release(bob)
    else:
        hub.join("bob")
    assert len(hub.manager.subscriptions) == 0
    hub.publish(1, "a")
    assert hub.recipients == [0]
    hub.manager.subscribe(bob, {"c": False})
    assert len(hub.manager.subscriptions) == 0


def test_a_connection_that_is_adopted_goes_on_with_its_subscriptions() -> None:
    hub = Hub()
    bob = RecordedConnection("bob", hub.manager, hub.now)
    bob.subscriptions, bob.serial = {"a": False}, 7
    hub.manager.adopt(bob, [])
    hub.publish(1, "a")
    hub.iterate()
    assert [frames.read(payload)["data"] for payload in bob.payloads] == [1]
    assert hub.manager.active_connections == {7: bob}


def test_what_one_iteration_publishes_is_one_write_for_each_client() -> None:
    hub = Hub()
    bob, eve = hub.join("bob", "a"), hub.join("eve", "a")
    ann, joe = hub.join("ann", "b"), hub.join("joe")
    for n, topic in enumerate(["a", None, "b", "a", "a", None, "a"]):
        hub.publish(n, topic)
    assert _writes(bob) == []
    hub.iterate()
    assert _writes(bob) == _writes(eve) == [[0, 1, 3, 4, 5, 6]]
    assert _writes(ann) == [[1, 2, 5]]
    assert _writes(joe) == [[1, 5]]
    assert bob.offered[1] is eve.offered[1]
    assert hub.manager.delivered == 17


def test_a_frame_for_some_keeps_its_place_among_the_messages() -> None:
    hub = Hub()
    bob, eve = hub.join("bob"), hub.join("eve")
    hub.publish(1)
    hub.manager.send_to([bob], b'"joined"')
    hub.manager.send_to([], b'"left"')
    hub.publish(2)
    hub.iterate()
    assert bob.payloads == [eve.payloads[0], eve.payloads[1], b'"joined"', eve.payloads[2]]
    assert _data(eve) == [1, 2]
    assert hub.manager.delivered == 4


def test_a_connection_that_has_ended_meanwhile_gets_nothing_and_is_not_counted() -> None:
    hub = Hub()
    bob, eve = hub.join("bob", "a"), hub.join("eve", "a")
    hub.publish(1, "a")
    hub.publish(2)
    hub.manager.retire(bob, 1000, "bye", EndReason.LEFT)
    hub.iterate()
    assert (_data(bob), _data(eve)) == ([], [1, 2])
    assert hub.manager.delivered == 2


def test_bytes_and_durations_count_messages_of_topics_too() -> None:
    hub = Hub()
    connections = [hub.join("bob", "a"), hub.join("eve", "a", deflate=True), hub.join("ann")]
    for n in range(3):
        hub.publish(n, "a")
        hub.publish("large " * DEFLATE_ABOVE, "a")
        hub.publish(n)
        hub.iterate()
    offered = [batch.encoded(c.encoding) for c in connections for batch in c.offered]
    assert hub.manager.traffic.sent_bytes == sum(map(len, offered))
    assert sum(hub.manager.traffic.broadcasts.counts) == 3


def test_a_large_message_is_compressed_once_and_history_keeps_no_compressed_copy() -> None:
    hub = Hub()
    everyone = [hub.join(f"bob{n}", f"a.{n}", deflate=True) for n in range(3)]
    hub.publish("large " * DEFLATE_ABOVE)
    for n in range(3):
        hub.publish(n, f"a.{n}")
    hub.iterate()
    (first,) = (entry for entry in hub.log.history.entries() if entry.topic is None)
    assert first.batch._deflated is None
    packed = [connection.offered[1].encoded(Encoding.DEFLATE) for connection in everyone]
    assert len(set(packed)) == 3
    assert len({each[:100] for each in packed}) == 1
    assert all(len(each) < len(c.offered[1].wire) // 10 for each, c in zip(packed, everyone, strict=True))


def test_history_keeps_no_events_of_what_streams_were_sent() -> None:
    hub = Hub()
    stream = RecordedConnection("eve", hub.manager, hub.now)
    stream.encoding = Encoding.EVENTS
    stream.subscriptions = {"a": False}
    hub.manager.connect(stream, Batch((b'"welcome"',)))
    hub.publish("one", "a")
    hub.iterate()
    hub.publish("two")
    hub.iterate()
    hub.publish("three")
    hub.publish("four", "a")
    hub.iterate()
    sent = b"".join(batch.encoded(stream.encoding) for batch in stream.offered)
    assert all(text in sent for text in (b"one", b"two", b"three", b"four"))
    assert all(entry.batch._events is None for entry in hub.log.history.entries())


def test_a_message_of_a_topic_puts_off_the_keepalive_of_its_subscribers_alone() -> None:
    hub = Hub()
    bob, eve = hub.join("bob", "a"), hub.join("eve")
    for connection in (bob, eve):
        connection.keepalive, connection.last_sent = 10, 0.0
    hub.now = 200.0
    hub.publish(1, "a")
    hub.iterate()
    hub.manager.check(205.0)
    assert [len(connection.offered) for connection in (bob, eve)] == [2, 2]
    hub.manager.check(209.0)
    hub.manager.check(210.0)
    assert [len(connection.offered) for connection in (bob, eve)] == [3, 2]


NAMES = ("bob", "eve", "ann")
PATTERNS = st.sampled_from(["a", "b", "a.*", "*.b", ">", "a.>"])
WHO = st.sampled_from(NAMES)
STEPS = st.lists(
    st.tuples(st.just("publish"), st.sampled_from(["a", "b", "a.b", "b.b", ""]), WHO)
    | st.tuples(st.sampled_from(["subscribe", "unsubscribe"]), PATTERNS, WHO)
    | st.tuples(st.sampled_from(["join", "leave", "iterate", "direct"]), st.just(""), WHO),
    max_size=50,
)


class Model:
    """A hub, and what each of its connections is to get: the number of the step that published it."""

    def __init__(self) -> None:
        self.hub = Hub()
        self.expected: dict[RecordedConnection, list[object]] = {}

    def publish(self, n: int, topic: str, name: str) -> None:
        reached = [c for c in self._active if not topic or any(matches(p, topic) for p in c.subscriptions)]
        self.hub.publish(n, topic or None)
        self._expect(reached, n)

    def direct(self, n: int, topic: str, name: str) -> None:
        self.hub.publish(n, None, (name,))
        self._expect([c for c in self._active if c.client_id == name], n)

    def subscribe(self, n: int, pattern: str, name: str) -> None:
        for connection in self.hub.manager.of(name):
            self.hub.manager.subscribe(connection, {pattern: False})

    def unsubscribe(self, n: int, pattern: str, name: str) -> None:
        for connection in self.hub.manager.of(name):
            self.hub.manager.unsubscribe(connection, [pattern])

    def join(self, n: int, topic: str, name: str) -> None:
        self.expected[self.hub.join(name)] = []

    def leave(self, n: int, topic: str, name: str) -> None:
        self.hub.iterate()
        for connection in self.hub.manager.of(name):
            self.hub.manager.retire(connection, 1000, "bye", EndReason.LEFT)

    def iterate(self, n: int, topic: str, name: str) -> None:
        self.hub.iterate()

    @property
    def _active(self) -> list[RecordedConnection]:
        return [c for c in self.expected if c.end_reason is None]

    def _expect(self, reached: list[RecordedConnection], n: int) -> None:
        assert self.hub.recipients[-1] == len(reached)
        for connection in reached:
            self.expected[connection].append(n)


@examples(200)
@given(STEPS)
def test_each_connection_gets_what_it_subscribed_to_in_the_order_of_all(
    steps: list[tuple[str, str, str]],
) -> None:
    model = Model()
    for n, (what, text, name) in enumerate(steps):
        getattr(model, what)(n, text, name)
    model.hub.iterate()
    for connection, data in model.expected.items():
        assert _data(connection) == data
    manager = model.hub.manager
    assert manager.delivered == sum(map(len, model.expected.values()))
    active = manager.active_connections.values()
    assert len(manager.subscriptions) == sum(len(c.subscriptions) for c in active)


def test_the_oldest_connection_of_an_id_beyond_the_limit_is_closed_with_4501() -> None:
    hub = Hub(connections_per_id=2)
    first, second, third = (hub.join("bob") for _ in range(3))
    assert first.closed
    assert first.closed[0::2] == (4501, EndReason.EVICTED)
    assert hub.manager.of("bob") == (second, third)
    assert (len(hub.manager.active_connections), len(hub.manager.clients)) == (2, 1)
    hub.manager.retire(second, 1000, "bye", EndReason.LEFT)
    assert hub.manager.of("bob") == (third,)
    assert not hub.manager.is_full("bob")
    hub.manager.retire(third, 1000, "bye", EndReason.LEFT)
    assert hub.manager.of("bob") == ()
    assert not hub.manager.clients


def test_any_number_of_connections_of_an_id_is_a_limit_of_0() -> None:
    hub = Hub(connections_per_id=0)
    connections = [hub.join("bob", "a") for _ in range(50)]
    hub.publish(1, None, ("bob", "eve"))
    hub.publish(2, "a")
    hub.iterate()
    assert all(_data(connection) == [1, 2] for connection in connections)
    assert hub.recipients == [50, 50]
    assert not hub.manager.is_full("bob")
    for connection in connections:
        hub.manager.retire(connection, 1000, "bye", EndReason.LEFT)
    assert not hub.manager.active_connections
    assert not hub.manager.clients
    assert hub.manager.addressees(["bob"]) == []


def test_of_too_many_the_one_opened_first_goes_whether_it_was_here_or_is_adopted() -> None:
    hub = Hub(connections_per_id=2)
    second, fourth = hub.join("bob"), hub.join("bob")
    assert (second.opened, fourth.opened) == (101, 102)

    def adopt(opened: float) -> RecordedConnection:
        connection = RecordedConnection("bob", hub.manager, opened)
        hub.manager.adopt(connection, [])
        return connection

    first = adopt(100.5)
    assert first.closed
    assert hub.manager.of("bob") == (second, fourth)
    third = adopt(101.5)
    assert second.closed
    assert hub.manager.of("bob") == (third, fourth)


def test_there_is_room_in_place_of_the_oldest_connection_of_an_id() -> None:
    hub = Hub(connections_per_id=2)
    first, second = hub.join("bob"), hub.join("bob")
    hub.manager.make_room("eve")
    hub.manager.make_room("bob")
    assert first.closed
    assert hub.manager.of("bob") == (second,)


@examples(100)
@given(st.integers(0, 3), st.lists(st.tuples(st.sampled_from(["join", "leave"]), st.sampled_from(NAMES))))
def test_whoever_comes_and_goes_clients_and_connections_agree(
    limit: int, steps: list[tuple[str, str]]
) -> None:
    hub = Hub(connections_per_id=limit)
    for what, name in steps:
        if what == "join":
            hub.join(name)
        elif of_name := hub.manager.of(name):
            hub.manager.retire(of_name[len(steps) % len(of_name)], 1000, "bye", EndReason.LEFT)
        active = list(hub.manager.active_connections.values())
        by_name = {k: tuple(v) for k, v in groupby(sorted(active, key=_id), key=_id)}
        assert set(hub.manager.clients) == set(by_name)
        assert {name: hub.manager.of(name) for name in by_name} == by_name
        assert {name: len(hub.manager.addressees([name])) for name in by_name} == {
            name: len(each) for name, each in by_name.items()
        }
        assert all(hub.manager.clients[name] in each for name, each in by_name.items())
        assert all(not limit or len(each) <= limit for each in by_name.values())
        assert all(hub.manager.is_full(name) == (len(each) == limit) for name, each in by_name.items())


def _id(connection: object) -> str:
    assert isinstance(connection, RecordedConnection)
    return connection.client_id
