"""The log of two processes in a handover, of which the successor gives the ids: what is published at the
predecessor goes there, and comes back in its order. The two ends, and the packets between them."""

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from itertools import count
from typing import Any

from wsctl.codes import ErrorCode
from wsctl.hub.connection_table import ConnectionTable
from wsctl.ipc.framing import Packet
from wsctl.log.history import Entry, MessageId
from wsctl.log.home import Draft, Home, Key, Refusal, RemoteConnection
from wsctl.log.message_log import MessageLog, read_id
from wsctl.log.refusals import UNCONFIRMED
from wsctl.log.transfer import (
    ReceivedHistory,
    Send,
    append_sent,
    draft_fields,
    entry_row,
    history_packets,
    history_place,
    read_entry,
)

ENDED = Refusal(
    ErrorCode.DEGRADED, "a new process serves by now: this message was not published, send it again"
)
"""The refusal of a process that has handed over, once nothing can be passed on any more."""

NO_TOPICS = Refusal(
    ErrorCode.DEGRADED, "the new process is of an earlier release and knows of no topics: upgrade it again"
)
"""The refusal of a message with a topic that the successor would deliver to everyone."""


class ForwardedLog(Home):
    """The home of a predecessor's log: its successor. The log's own home is suspended meanwhile, and goes on
    when the successor is lost. A successor without `topics`, of an earlier release, gets no messages with
    one."""

    def __init__(self, log: MessageLog, send: Send, *, topics: bool = True) -> None:
        self._log = log
        self._send = send
        self._topics = topics
        self._own = log.home
        self._sent: MessageId = (0, 0)
        self._resume_point: dict[str, Any] | None = None
        self._hung_up = False
        self._is_away = False

    async def send_history(self, taken: Callable[[], Awaitable[None]]) -> None:
        """Send the history that there is, while its own home still gives the ids; `taken` waits until the
        successor has read what was sent."""
        self._sent, packets = self._log.position, history_packets(self._log.history, topics=self._topics)
        for fields, blobs in packets:
            self._send("history", fields, blobs)
            await taken()

    async def suspend_own(self) -> None:
        """Leave the own home to the successor. From there nothing is delivered until `begin`, or `end`."""
        self._resume_point = await self._own.suspend()

    def begin_at(self, here: Sequence[RemoteConnection], elsewhere: Sequence[Sequence[Any]] = ()) -> None:
        """Hand the log over: from here on the successor gives the ids. The connections `here` are told of
        what it publishes. Of those `elsewhere` that subscribe to topics it is told too."""
        log = self._log
        for fields, blobs in history_packets(log.history, self._sent, topics=self._topics):
            self._send("history", fields, blobs)
        place = history_place(log, topics=self._topics)
        names = [connection.client_id for connection in here]  # all that an earlier release reads
        connections = [each if each.patterns else each[:2] for each in here]
        presence = {"topics": True, "connections": connections, "elsewhere": elsewhere}
        keys = {"keys": log.seen_keys.rows()} if len(log.seen_keys) else {}
        self._send("begin", {**place, "here": names, "shared": self._resume_point, **presence, **keys})
        log.move_to(self)

    def give_back(self, here: Collection[RemoteConnection]) -> None:
        """Have the own home give the ids again; these connections are left."""
        self._own.resume(here)
        self._log.move_to(self._own)
        if self._is_away and self._own.why is None:
            self._log.back(recovered=True)  # the successor's was away, and cannot say when it is there

    def hang_up(self) -> None:
        """Refuse everything from here on: the channel is closed, and this process ends."""
        self._hung_up = True
        for draft in self._log.drafts:
            self._log.refuse(draft.key, UNCONFIRMED)

    @property
    def finds_keys(self) -> bool:
        return True

    def publish(self, draft: Draft) -> None:
        if self._hung_up:
            self._log.refuse(draft.key, ENDED)
            return
        if draft.topic is not None and not self._topics:
            self._log.refuse(draft.key, NO_TOPICS)
            return
        self._send("publish", *draft_fields(draft))

    def receive(self, packet: Packet) -> None:
        """Receive a packet of the successor: a message that has its id or was refused, or a change of its
        home."""
        told = packet.fields
        match packet.kind:
            case "message":
                entry = read_entry(told["entry"], packet.blobs[0])
                key = told["key"]
                self._log.take(entry, key and Key(*key), recipients=told["recipients"])
                self._own.skip_to(entry.id)
            case "unpublished":
                # A successor of an older release does not say which of the two it is.
                code = ErrorCode(told.get("code", ErrorCode.UNCONFIRMED))
                self._log.refuse(Key(*told["key"]), Refusal(code, told["why"]))
            case "repeated":
                if (message_id := read_id(told["id"])) is not None:
                    self._log.answer_repeated(Key(*told["key"]), message_id)
            case "away":
                self._is_away = True
                self._log.cut_off(told["why"])
            case "back":
                self._is_away = False
                self._log.back(told["recovered"])


class LogRelay:
    """The successor's end: gives the ids on behalf of the predecessor, whose log follows. `next_serial`
    returns the serial of a connection of which a predecessor of an earlier release tells.

    Attributes:
        knows_topics: whether the predecessor knows of topics; one of an earlier release does not.
        there: the connections with the predecessor, or on their way here, that are to stay.
        arriving: those on their way here, by their serials.
        outdated: those that end because their client has newer ones, until they have ended.
        came_there: all that the predecessor accepted, by their serials, which are larger for later ones.
    """

    def __init__(self, log: MessageLog, send: Send, next_serial: Callable[[], int] | None = None) -> None:
        self._log = log
        self._send = send
        self._next_serial = next_serial or count(1).__next__
        self._history = ReceivedHistory()
        self.knows_topics = False
        self._position: MessageId = (0, 0)
        self.there: ConnectionTable[int] = ConnectionTable()
        self.arriving: set[int] = set()
        self.outdated: set[int] = set()
        self.came_there: set[int] = set()

    @property
    def connections(self) -> list[RemoteConnection]:
        """The connections that are there, the oldest first."""
        return [RemoteConnection(row.client_id, serial, row.patterns) for serial, row in self.there.items()]

    def add_history(self, fields: Mapping[str, Any], blobs: Sequence[bytes]) -> None:
        """Take a packet with a part of what the predecessor keeps."""
        self._history.add(fields, blobs)

    def begin(self, told: Mapping[str, Any], ready: Callable[[], None] = lambda: None) -> None:
        """Give the ids from here on, for the clients that are with the predecessor too. `ready` is called
        before the home goes on."""
        log = self._log
        self.knows_topics, self._position = "topics" in told, tuple(told["position"])
        named = [[client_id, self._next_serial()] for client_id in told["here"]]
        for client_id, serial, *patterns in told.get("connections", named):
            self.there.put(serial, client_id, *patterns)
            self.came_there.add(serial)
        # Messages from before a connection moves must be there when it arrives, whatever --history says.
        log.history.hold(True)
        self._history.restore(log, told)
        log.seen_keys.restore(told.get("keys", ()))
        log.follower = self
        ready()
        if point := told.get("shared"):
            skipped = {} if self.knows_topics else {"without_topics": True}
            log.home.resume_at(point | skipped, self.connections)

    def end(self) -> None:
        """Give the ids for this process alone."""
        self._log.follower = None

    def publish(self, told: Mapping[str, Any], data: bytes) -> None:
        """Append what the predecessor was given to publish."""
        append_sent(self._log, told, data, refused=self._refuse, repeated=self._answer_repeated)

    def relay(self, entry: Entry, recipients: int, key: Key | None) -> int:
        """Send a message to the predecessor, and return how many connections it goes to that are still there
        or on the way here."""
        elsewhere = self.there.count(entry.to, entry.topic)
        is_new = entry.id > self._position  # or else it had it before the handover
        if is_new and (self.knows_topics or entry.topic is None):
            fields = {"entry": entry_row(entry), "recipients": recipients + elsewhere, "key": key}
            self._send("message", fields, [entry.batch.wire])
        return elsewhere

    def cut_off(self, why: str) -> None:
        self._send("away", {"why": why})

    def back(self, recovered: bool) -> None:
        self._send("back", {"recovered": recovered})

    # The connections of the predecessor

    def joined_there(
        self, client_id: str, serial: int | None, patterns: Iterable[str] = ()
    ) -> RemoteConnection:
        """Note a connection that came to the predecessor."""
        if serial is None:  # one of an earlier release has one connection a client, and closes the older one
            for older in self.there.of(client_id):
                self.there.remove(older)
                self.outdated.update({older} & self.arriving)
            serial = self._next_serial()
        connection = RemoteConnection(client_id, serial, tuple(patterns))
        self.there.put(connection.serial, client_id, connection.patterns)
        self.came_there.add(connection.serial)
        return connection

    def subscribed_there(self, connection: RemoteConnection) -> None:
        """Note all that a connection there subscribes to by now."""
        if connection.serial in self.there:
            self.there.put(connection.serial, connection.client_id, connection.patterns)

    def left_there(self, client_id: str, serial: int | None) -> int | None:
        """Note that a connection there has ended; return its serial."""
        if serial is None:
            serial = self._only(client_id)
        if serial is not None:
            self.there.remove(serial)
            self.outdated.discard(serial)
        return serial

    def depart(self, client_id: str, serial: int | None, *, is_replaced: bool) -> int:
        """Note that a connection is on its way here; return its serial. A predecessor of an earlier release
        does not say that, but whether a newer connection has replaced this one."""
        if serial is None and not is_replaced:
            serial = self._only(client_id)
        if serial is None:
            serial = self._next_serial()
            self.outdated.update([serial] if is_replaced else [])
        self.arriving.add(serial)
        return serial

    def _only(self, client_id: str) -> int | None:
        """Return the serial of the connection that a client has with a predecessor of an earlier release."""
        return next((each for each in self.there.of(client_id) if each not in self.arriving), None)

    def arrived(self, serial: int) -> bool:
        """Note that a connection has arrived, or ended on its way; tell whether it may stay."""
        self.there.remove(serial)
        self.arriving.discard(serial)
        stays = serial not in self.outdated
        self.outdated.discard(serial)
        return stays

    def replaced(self, client_id: str, serial: int | None) -> None:
        """Close a connection with the predecessor, or on its way here: its client has newer ones here or in
        another process."""
        for each in self.there.of(client_id) if serial is None else (serial,):
            if self.there.remove(each):
                self.outdated.add(each)
                if each not in self.arriving:
                    self._send("replaced", {"id": client_id, "serial": each})

    def _refuse(self, key: Key, why: Refusal) -> None:
        self._send("unpublished", {"key": key, "why": why.text, "code": why.code})

    def _answer_repeated(self, key: Key, message_id: str) -> None:
        self._send("repeated", {"key": key, "id": message_id})
