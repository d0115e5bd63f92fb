"""Who subscribes to what, while connections move from one process to another: both ends, with packets that
are under way for as long as it pleases."""

from collections import deque
from collections.abc import Mapping, Sequence
from itertools import count
from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.support.connections import RecordedConnection
from tests.support.sizes import examples
from wsctl.hub.connection import Connection
from wsctl.hub.presence import SUCCESSOR, TopicPresence, connected
from wsctl.log.home import RemoteConnection
from wsctl.server.handover.presence_feed import PREDECESSOR, PresenceFeed
from wsctl.topics import has_wildcards, matches

TOPICS = ("a", "b")
PATTERNS = (*TOPICS, "*", "a.>")
NAMES = ("bob", "eve", "joe")
OTHERS = "other node"


class Process:
    """A process: its connections, and what each of them knows of the topics that it watches."""

    def __init__(self) -> None:
        self.connections: dict[int, Connection] = {}
        self.presence = TopicPresence(self._told, self.subscribers)

    def subscribers(self, topic: str) -> list[Connection]:
        return [c for c in self.connections.values() if any(matches(p, topic) for p in c.subscriptions)]

    def _told(self, watchers: Sequence[Connection], joined: bool, topic: str, client_id: str) -> None:
        for watcher in watchers:
            known = watcher.known[topic]  # type: ignore[attr-defined]
            assert client_id != watcher.client_id
            assert (client_id in known) is not joined, "told once of each change"
            (known.add if joined else known.remove)(client_id)

    def join(self, serial: int, name: str, subscriptions: Mapping[str, bool]) -> Connection:
        connection = WatchingConnection(name)
        connection.serial, connection.subscriptions = serial, subscriptions
        self.connections[serial] = connection
        self.presence.joined(connection)
        connection.know(self)
        return connection

    def subscribe(self, serial: int, subscriptions: Mapping[str, bool]) -> None:
        connection = self.connections[serial]
        connection.subscriptions = subscriptions
        self.presence.subscribed(connection)
        assert isinstance(connection, WatchingConnection)
        connection.know(self)


class WatchingConnection(RecordedConnection):
    """A connection that keeps a list of the clients that are there, by what it asked once and was told."""

    def __init__(self, client_id: str) -> None:
        super().__init__(client_id)
        self.known: dict[str, set[str]] = {}

    @property
    def watched(self) -> list[str]:
        return [topic for topic, events in self.subscriptions.items() if events]

    def know(self, process: Process) -> None:
        """Ask who is there, for topics that it did not watch before."""
        self.known = {
            topic: self.known.get(topic) or set(process.presence.clients(topic)) - {self.client_id}
            for topic in self.watched
        }


class Handover:
    """Two processes and the packets between them; a third one tells the one that has the home of the log."""

    def __init__(self) -> None:
        self.old, self.new = Process(), Process()
        self.to_new: deque[tuple[str, Any]] = deque()
        self.to_old: deque[dict[str, Any]] = deque()
        self.elsewhere: dict[int, RemoteConnection] = {}
        self.feed = PresenceFeed(self.new.presence, self._send)
        self.number = 0
        self.begun = False
        self._serials = count(1)
        self._places: dict[tuple[str, int], int] = {}

    def _send(self, kind: str, fields: dict[str, Any], blobs: Sequence[bytes] = ()) -> None:
        assert kind == "presence"
        self.to_old.append(fields)

    def begin(self) -> None:
        rows = [[holder, *row] for holder, row in self.old.presence.rows() if holder is not None]
        relay: Any = SimpleNamespace(
            connections=[connected(c) for c in self.old.connections.values()], knows_topics=True
        )
        self.feed.begin(relay, rows)
        self.old.presence.follow()
        self.begun = True

    def step(self, what: str, place: int, name: str, wanted: dict[str, bool]) -> None:
        subscriptions = {p: events and not has_wildcards(p) for p, events in wanted.items()}
        match what:
            case "old":
                self._change(self.old, place, name, subscriptions)
            case "new" if self.begun:
                self._change(self.new, place, name, subscriptions)
            case "elsewhere":
                self._change_elsewhere(place, name, subscriptions)
            case "leave":
                self._leave(self._places.get(("old", place), 0))
                self._leave(self._places.get(("new", place), 0))
            case "move" if self.begun:
                self._move(self._places.get(("old", place), 0))
            case "to new" if self.to_new:
                self._take_new(*self.to_new.popleft())
            case "to old" if self.to_old:
                self._take_old(self.to_old.popleft())

    def _change(self, at: Process, place: int, name: str, subscriptions: dict[str, bool]) -> None:
        """The connection at this place subscribes to something else; if there is none, one comes."""
        where = "old" if at is self.old else "new", place
        serial = self._places.get(where)
        if serial in at.connections:
            at.subscribe(serial, subscriptions)
        else:
            serial = self._places[where] = next(self._serials)
            at.join(serial, name, subscriptions)
        if self.begun and at is self.old:
            self.to_new.append(("change", connected(at.connections[serial])))

    def _move(self, serial: int) -> None:
        if connection := self.old.connections.pop(serial, None):
            self.old.presence.moved(connection)
            self.to_new.append(("move", (connection, self.number)))

    def _change_elsewhere(self, place: int, name: str, subscriptions: dict[str, bool]) -> None:
        known = self.elsewhere.get(place) or RemoteConnection(name, next(self._serials))
        self.elsewhere[place] = known._replace(patterns=tuple(subscriptions))
        home = self.new if self.begun else self.old
        home.presence.learn(OTHERS, list(self.elsewhere.values()), whole=True)

    def _leave(self, serial: int) -> None:
        if connection := self.old.connections.pop(serial, None):
            self.old.presence.left(connection)
            if self.begun:
                self.to_new.append(("left", serial))
        elif connection := self.new.connections.pop(serial, None):
            self.new.presence.left(connection)

    def _take_new(self, kind: str, told: Any) -> None:
        if kind == "change":
            self.new.presence.learn(PREDECESSOR, [told])
        elif kind == "left":
            self.new.presence.learn(PREDECESSOR, (), [told])
        else:
            connection, number = told
            self.new.connections[connection.serial] = connection
            self.new.presence.arrived(connection, self.feed.since(number))

    def _take_old(self, told: dict[str, Any]) -> None:
        self.number = told["number"]
        self.old.presence.apply((holder, RemoteConnection(*row)) for holder, *row in told["connections"])

    def settle(self) -> None:
        while self.to_new or self.to_old:
            self.step("to new", 0, "", {})
            self.step("to old", 0, "", {})

    def lose(self) -> None:
        """The new process is gone; the home tells the old one what is elsewhere."""
        self.to_old.clear()
        self.old.presence.lead(self.old.connections.values())
        self.old.presence.learn(OTHERS, list(self.elsewhere.values()), whole=True)
        assert not self.old.presence.serials(SUCCESSOR)

    def check(self, *processes: Process) -> None:
        there = [connected(c) for process in processes for c in process.connections.values()]
        there += self.elsewhere.values()
        for topic in TOPICS:
            clients = {c.client_id for c in there if any(matches(p, topic) for p in c.patterns)}
            for process in processes:
                assert set(process.presence.clients(topic)) == clients
                for watcher in process.connections.values():
                    assert isinstance(watcher, WatchingConnection)
                    if topic in watcher.watched:
                        assert watcher.known[topic] == clients - {watcher.client_id}


steps = st.lists(
    st.tuples(
        st.sampled_from(["old", "old", "new", "elsewhere", "leave", "move", "to new", "to old", "to old"]),
        st.integers(1, 4),
        st.sampled_from(NAMES),
        st.dictionaries(st.sampled_from(PATTERNS), st.booleans(), max_size=2),
    ),
    max_size=30,
)


@examples(300)
@given(before=steps, then=steps, lost=st.booleans())
def test_each_watcher_hears_each_change_once_wherever_it_is_then(
    before: list[tuple[str, int, str, dict[str, bool]]],
    then: list[tuple[str, int, str, dict[str, bool]]],
    lost: bool,
) -> None:
    handover = Handover()
    for step in before:
        handover.step(*step)
    handover.check(handover.old)
    handover.begin()
    for step in then:
        handover.step(*step)
    if lost:
        handover.lose()
        handover.check(handover.old)
    else:
        handover.settle()
        handover.check(handover.old, handover.new)


def test_what_happens_while_a_watcher_is_on_its_way_it_hears_when_it_arrives() -> None:
    handover = Handover()
    for place, name in ((1, "bob"), (2, "eve"), (3, "joe")):
        handover.step("old", place, name, {"a": True})
    handover.begin()
    handover.step("old", 2, "eve", {"b": False})  # the watcher hears of this before it goes
    handover.step("to new", 0, "", {})
    handover.step("to old", 0, "", {})
    handover.step("new", 1, "tom", {"a": False})  # and of this it does not
    handover.step("leave", 3, "", {})
    handover.step("move", 1, "", {})
    handover.step("new", 2, "amy", {"*": False})
    watcher = handover.to_new[-1][1][0]
    assert watcher.known == {"a": {"joe"}}
    handover.settle()
    assert watcher.known == {"a": {"tom", "amy"}}
    handover.check(handover.old, handover.new)
