"""The seam between what was missed and what comes: nothing twice, nothing left out, whoever resumes when."""

from collections.abc import Callable

from hypothesis import example, given
from hypothesis import strategies as st

from tests.support import frames
from tests.support.connections import RecordedConnection
from tests.support.entries import missed_by
from tests.support.sizes import examples
from wsctl.frame import Batch
from wsctl.hub.connection import EndReason
from wsctl.hub.manager import ConnectionManager
from wsctl.log.message_log import MessageLog

NEVER_GIVEN = ("1000-999", "999-0", "1001-0", "1000", "x")

Addressees = tuple[str, ...] | None


class Stay:
    """A connection, and which messages it must be sent: from number `cursor` on, up to `until` at its end."""

    def __init__(self, connection: RecordedConnection, cursor: int) -> None:
        self.connection = connection
        self.cursor = cursor
        self.until: int | None = None

    def seen(self) -> list[str]:
        welcome, *rest = self.connection.payloads
        assert welcome == b'"welcome"'
        return [frames.read(payload)["id"] for payload in rest]

    def wanted(self, ids: list[str], to: list[Addressees]) -> list[str]:
        name = self.connection.client_id
        ours = list(zip(ids[1:], to, strict=True))[self.cursor : self.until]
        return [message_id for message_id, who in ours if who is None or name in who]


class Hub:
    """A log and a manager on a loop whose iterations are run by hand, and all that was ever said.

    `ids[n]` is the id of the n-th message; `ids[0]` lies before the first. `flushed` were sent to whoever is
    connected.
    """

    def __init__(self, most: int) -> None:
        self.soon: list[Callable[[], None]] = []
        self.manager = ConnectionManager(lambda: 0.0, self.soon.append)
        self.log = MessageLog(self.manager.deliver, most, 1 << 20, lambda: 1.0)
        self.most = most
        self.ids = [self.log.newest]
        self.to: list[Addressees] = []
        self.flushed = 0
        self.stays: dict[str, list[Stay]] = {"bob": [], "eve": []}

    def say(self, to: Addressees) -> None:
        self.log.append("x", 1, to)
        self.ids.append(self.log.newest)
        self.to.append(to)
        # A direct message must not overtake the broadcasts before it.
        self.flushed = self.flushed if to is None else len(self.to)

    def join(self, name: str, since: str | None) -> None:
        missed = None if since is None else missed_by(self.log, since, name)
        self._check(since, recovered=missed is not None)
        self.flushed = len(self.to)
        self._end(name)
        connection = RecordedConnection(name, self.manager)
        self.manager.connect(connection, Batch((b'"welcome"',)), missed or [])
        cursor = len(self.to) if since is None or missed is None else self.ids.index(since)
        self.stays[name].append(Stay(connection, cursor))

    def leave(self, name: str) -> None:
        self._end(name)
        if connection := self.manager.clients.get(name):
            self.manager.retire(connection, 1000, "bye", EndReason.LEFT)

    def come_back(self, name: str) -> None:
        """Resume after the last message ever seen, as clients do whose connection broke."""
        self.leave(name)
        seen = [message_id for stay in self.stays[name] for message_id in stay.seen()]
        self.join(name, seen[-1] if seen else None)

    def iterate(self) -> None:
        due, self.soon[:] = self.soon[:], []
        for call in due:
            call()
        self.flushed = len(self.to)

    def _check(self, since: str | None, recovered: bool) -> None:
        """What is resumed after must have been given, and everything behind it must still be kept."""
        given = since is not None and since in self.ids
        assert recovered == (given and len(self.to) - self.ids.index(since or "") <= self.most)

    def _end(self, name: str) -> None:
        if name in self.manager.clients:
            self.stays[name][-1].until = self.flushed


NAMES = st.sampled_from(["bob", "eve"])
STEPS = st.lists(
    st.tuples(st.just("say"), st.sampled_from([None, None, ("bob",), ("eve", "bob"), ("ann",)]))
    | st.tuples(st.just("join"), NAMES, st.none() | st.integers(0, 60) | st.sampled_from(NEVER_GIVEN))
    | st.tuples(st.sampled_from(["leave", "come back"]), NAMES)
    | st.tuples(st.just("iterate")),
    max_size=60,
)


def _step(hub: Hub, what: str, *details: object) -> None:
    match what, *details:
        case "say", None | tuple() as to:
            hub.say(to)
        case "join", str(name), int(n):
            hub.join(name, hub.ids[n % len(hub.ids)])
        case "join", str(name), None | str() as since:
            hub.join(name, since)
        case "leave", str(name):
            hub.leave(name)
        case "come back", str(name):
            hub.come_back(name)
        case ("iterate",):
            hub.iterate()
        case _:
            raise AssertionError((what, details))


@examples(300)
@example([("say", None), ("iterate",), ("say", None), ("join", "bob", 0), ("say", None)], 100)
@example([("join", "bob", None), ("say", None), ("join", "bob", 0), ("say", ("bob",))], 100)
@example([("say", None), ("say", None), ("join", "bob", 1), ("join", "eve", 0)], 1)
@given(STEPS, st.sampled_from([0, 1, 3, 100]))
def test_each_stay_sees_the_messages_for_it_behind_its_cursor_in_order_and_once(
    steps: list[tuple[object, ...]], most: int
) -> None:
    hub = Hub(most)
    for what, *details in steps:
        _step(hub, str(what), *details)
    hub.iterate()
    for stay in [stay for stays in hub.stays.values() for stay in stays]:
        assert stay.seen() == stay.wanted(hub.ids, hub.to)


@examples(100)
@given(STEPS)
def test_a_client_that_always_comes_back_sees_every_message_for_it_once(
    steps: list[tuple[object, ...]],
) -> None:
    hub = Hub(most=100)
    hub.say(("bob",))
    hub.join("bob", hub.ids[0])
    for what, *details in steps:
        if "bob" not in details or what in {"leave", "come back"}:
            _step(hub, str(what), *details)
    hub.come_back("bob")
    hub.iterate()
    seen = [message_id for stay in hub.stays["bob"] for message_id in stay.seen()]
    said = zip(hub.ids[1:], hub.to, strict=True)
    assert seen == [message_id for message_id, to in said if to is None or "bob" in to]
