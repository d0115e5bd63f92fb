"""Who subscribes to a topic, over all processes, and who is told of it."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from hypothesis import given
from hypothesis import strategies as st

from tests.support.connections import RecordedConnection
from tests.support.sizes import examples
from wsctl.hub.connection import Connection
from wsctl.hub.presence import MOST_PRESENT, Present, TopicPresence, connected
from wsctl.log.home import RemoteConnection
from wsctl.topics import has_wildcards, matches

TOPICS = ("a", "a.b", "a.c", "d")
PATTERNS = (*TOPICS, "a.*", ">", "*")
NAMES = ("bob", "eve", "joe")


class Process:
    """A process: its connections, its presence, and what each connection was told."""

    def __init__(self) -> None:
        self.connections: dict[int, Connection] = {}
        self.presence = TopicPresence(self._told, self._subscribers)
        self.told: dict[int, list[tuple[bool, str, str]]] = defaultdict(list)

    def _told(self, watchers: Sequence[Connection], joined: bool, topic: str, client_id: str) -> None:
        for watcher in watchers:
            self.told[watcher.serial].append((joined, topic, client_id))

    def _subscribers(self, topic: str) -> Iterable[Connection]:
        return [c for c in self.connections.values() if any(matches(p, topic) for p in c.subscriptions)]

    def join(self, serial: int, name: str, subscriptions: Mapping[str, bool] | None = None) -> Connection:
        connection = RecordedConnection(name)
        connection.serial = serial
        connection.subscriptions = subscriptions or {}
        self.connections[serial] = connection
        self.presence.joined(connection)
        return connection

    def subscribe(self, serial: int, subscriptions: Mapping[str, bool]) -> None:
        self.connections[serial].subscriptions = subscriptions
        self.presence.subscribed(self.connections[serial])

    def leave(self, serial: int) -> None:
        self.presence.left(self.connections.pop(serial))


def test_a_watcher_hears_of_the_first_connection_of_a_client_and_of_its_last_and_not_of_its_own() -> None:
    here = Process()
    here.join(1, "bob", {"a": True})
    here.join(2, "bob", {"a": False})
    here.join(3, "eve", {"a": False})
    here.join(4, "eve", {"*": False, "a": False})
    here.leave(3)
    assert here.told == {1: [(True, "a", "eve")]}
    here.leave(4)
    assert here.told == {1: [(True, "a", "eve"), (False, "a", "eve")]}


def test_a_client_that_exchanges_one_pattern_for_another_one_neither_joins_nor_leaves() -> None:
    here = Process()
    here.join(1, "bob", {"a.b": True})
    here.join(2, "eve", {"a.b": False})
    here.subscribe(2, {"a.*": False})
    here.subscribe(2, {">": False, "d": False})
    assert here.told == {1: [(True, "a.b", "eve")]}


def test_who_subscribes_again_without_events_hears_nothing_more() -> None:
    here = Process()
    here.join(1, "bob", {"a": True})
    here.subscribe(1, {"a": False})
    here.join(2, "eve", {"a": False})
    here.subscribe(1, {"a": True})
    here.leave(2)
    assert here.told == {1: [(False, "a", "eve")]}


def test_connections_of_other_processes_count_and_go_with_their_process() -> None:
    here = Process()
    here.join(1, "bob", {"a": True})
    here.presence.learn("b", [RemoteConnection("eve", 2, ("a",)), RemoteConnection("joe", 3, ())])
    here.presence.learn("c", [RemoteConnection("eve", 4, ("*", "d"))])
    assert here.presence.clients("a") == {"bob": 1, "eve": 2}
    assert (here.presence.count("a"), here.presence.count("d"), here.presence.count("a", ["bob"])) == (
        2,
        1,
        0,
    )
    assert (here.presence.serials("b"), here.presence.serials("x")) == ({2}, frozenset())
    here.presence.lose("b")
    assert (here.told[1], here.presence.clients("a")) == ([(True, "a", "eve")], {"bob": 1, "eve": 1})
    here.presence.lose("c")
    assert here.told[1] == [(True, "a", "eve"), (False, "a", "eve")]


def test_all_of_a_process_told_again_is_no_news() -> None:
    here = Process()
    here.join(1, "bob", {"a": True})
    here.presence.learn("b", [RemoteConnection("eve", 2, ("a",)), RemoteConnection("joe", 3, ("a",))])
    here.presence.learn(
        "b", [RemoteConnection("eve", 5, ("a",)), RemoteConnection("tom", 6, ("a",))], whole=True
    )
    assert here.told[1] == [
        (True, "a", "eve"),
        (True, "a", "joe"),
        (True, "a", "tom"),
        (False, "a", "joe"),
    ]


def test_an_answer_names_clients_in_order_and_only_so_many() -> None:
    here = Process()
    here.presence.learn("b", [RemoteConnection(f"c{n:04}", n, ("a",)) for n in range(MOST_PRESENT, -1, -1)])
    here.presence.learn("c", [RemoteConnection("c0000", 5000, ("a",))])
    answers: list[Present] = []
    here.presence.of("a", answers.append)
    here.presence.of("d", answers.append)
    assert (answers[0].count, len(answers[0].clients)) == (MOST_PRESENT + 1, MOST_PRESENT)
    assert (answers[0].clients[:2], answers[1]) == ((("c0000", 2), ("c0001", 1)), Present(0, ()))


class Cluster:
    """Two processes that tell each other everything, and what each connection should have been told."""

    def __init__(self) -> None:
        self.processes = Process(), Process()
        self.expected: dict[int, list[tuple[bool, str, str]]] = defaultdict(list)

    @property
    def connections(self) -> list[Connection]:
        return [c for process in self.processes for c in process.connections.values()]

    def clients(self, topic: str) -> set[str]:
        return {c.client_id for c in self.connections if any(matches(p, topic) for p in c.subscriptions)}

    def step(self, at: bool, serial: int, name: str, subscriptions: dict[str, bool] | None) -> None:
        """A connection comes, subscribes to something else, or leaves."""
        before = {topic: self.clients(topic) for topic in TOPICS}
        watching = {
            c: [topic for topic, events in c.subscriptions.items() if events] for c in self.connections
        }
        self._change(self.processes[at], self.processes[not at], serial, name, subscriptions)
        for connection, topics in watching.items():
            for topic in topics if connection in self.connections else ():
                now, was, own = self.clients(topic), before[topic], {connection.client_id}
                told = self.expected[connection.serial]
                told += [(True, topic, name) for name in now - was - own]
                told += [(False, topic, name) for name in was - now - own]

    def _change(
        self, here: Process, there: Process, serial: int, name: str, subscriptions: dict[str, bool] | None
    ) -> None:
        known = here.connections.get(serial)
        if subscriptions is None:
            if known:
                here.leave(serial)
                there.presence.learn("other", (), [serial])
            return
        if known:
            here.subscribe(serial, subscriptions)
        else:
            known = here.join(serial, name, subscriptions)
        there.presence.learn("other", [connected(known)])


steps = st.lists(
    st.tuples(
        st.booleans(),
        st.integers(1, 6),
        st.sampled_from(NAMES),
        st.none() | st.dictionaries(st.sampled_from(PATTERNS), st.booleans(), max_size=3),
    ),
    max_size=25,
)


@examples(200)
@given(steps=steps)
def test_each_watcher_hears_each_change_of_who_is_there_once(
    steps: list[tuple[bool, int, str, dict[str, bool] | None]],
) -> None:
    cluster = Cluster()
    for at, number, name, wanted in steps:
        watched = wanted and {p: events and not has_wildcards(p) for p, events in wanted.items()}
        cluster.step(at, number + 100 * at, name, watched)
    for process in cluster.processes:
        for serial, told in process.told.items():
            assert Counter(told) == Counter(cluster.expected.pop(serial, []))
        for topic in TOPICS:
            assert set(process.presence.clients(topic)) == cluster.clients(topic)
    assert not any(cluster.expected.values())
