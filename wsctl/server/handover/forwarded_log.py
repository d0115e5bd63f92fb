"""The log of two processes in a handover, of which the successor gives the ids: what is published at the
predecessor goes there, and comes back in its order. The two ends, and the packets between them."""

from collections.abc import Awaitable, Callable, Container, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from wsctl.codes import ErrorCode
from wsctl.ipc.framing import Packet
from wsctl.log.history import Entry, MessageId
from wsctl.log.home import Draft, Home, Key, Refusal
from wsctl.log.message_log import MessageLog
from wsctl.log.refusals import UNCONFIRMED
from wsctl.log.transfer import (
    Send,
    draft_fields,
    entry_row,
    in_pieces,
    read_draft,
    read_entry,
    send_entries,
)

ENDED = Refusal(
    ErrorCode.DEGRADED, "a new process serves by now: this message was not published, send it again"
)
"""The refusal of a process that has handed over, once nothing can be passed on any more."""


class ForwardedLog(Home):
    """The home of a predecessor's log: its successor. The log's own home is suspended meanwhile, and goes on
    when the successor is lost."""

    def __init__(self, log: MessageLog, send: Send) -> None:
        self._log = log
        self._send = send
        self._own = log.home
        self._sent: MessageId = (0, 0)
        self._resume_point: dict[str, Any] | None = None
        self._hung_up = False
        self._is_away = False

    async def send_history(self, taken: Callable[[], Awaitable[None]]) -> None:
        """Send the history that there is, while its own home still gives the ids; `taken` waits until the
        successor has read what was sent."""
        for entries in in_pieces(self._log.history.entries()):
            self._send_history(entries)
            await taken()

    async def suspend_own(self) -> None:
        """Leave the own home to the successor. From there nothing is delivered until `begin`, or `end`."""
        self._resume_point = await self._own.suspend()

    def begin_at(self, here: Sequence[str]) -> None:
        """Hand the log over: from here on the successor gives the ids. The clients `here` are told of what it
        publishes."""
        log = self._log
        # Messages that were dropped meanwhile are before the floor, and the successor drops them too.
        rest = [entry for entry in log.history.entries() if entry.id > self._sent]
        for entries in in_pieces(rest):
            self._send_history(entries)
        place = {"position": log.position, "floor": log.history.floor}
        self._send("begin", {**place, "here": here, "shared": self._resume_point})
        log.move_to(self)

    def give_back(self, clients: Container[str]) -> None:
        """Have the own home give the ids again; these clients are left."""
        self._own.resume(clients)
        self._log.move_to(self._own)
        if self._is_away and self._own.why is None:
            self._log.back(recovered=True)  # the successor's was away, and cannot say when it is there

    def hang_up(self) -> None:
        """Refuse everything from here on: the channel is closed, and this process ends."""
        self._hung_up = True
        for draft in self._log.drafts:
            self._log.refuse(draft.key, UNCONFIRMED)

    def publish(self, draft: Draft) -> None:
        if self._hung_up:
            self._log.refuse(draft.key, ENDED)
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
            case "away":
                self._is_away = True
                self._log.cut_off(told["why"])
            case "back":
                self._is_away = False
                self._log.back(told["recovered"])

    def _send_history(self, entries: list[Entry]) -> None:
        self._sent = entries[-1].id
        send_entries(self._send, entries)


class LogRelay:
    """The successor's end: gives the ids on behalf of the predecessor, whose log follows.

    Attributes:
        there: the clients that are with the predecessor.
        arriving: those on their way here.
        outdated: those of them that have a newer connection elsewhere.
    """

    def __init__(self, log: MessageLog, send: Send) -> None:
        self._log = log
        self._send = send
        self._history: list[Entry] = []
        self.there: set[str] = set()
        self.arriving: set[str] = set()
        self.outdated: set[str] = set()

    def add_history(self, rows: Iterable[Sequence[Any]], wires: Iterable[bytes]) -> None:
        """Take messages that the predecessor keeps, oldest first."""
        self._history += map(read_entry, rows, wires)

    def begin(self, told: Mapping[str, Any]) -> None:
        """Give the ids from here on, for the clients that are with the predecessor too."""
        log, floor = self._log, tuple(told["floor"])
        self.there.update(told["here"])
        # Messages from before a connection moves must be there when it arrives, whatever --history says.
        log.history.hold(True)
        log.restore(tuple(told["position"]), floor, [entry for entry in self._history if entry.id > floor])
        self._history = []
        log.follower = self
        if point := told.get("shared"):
            log.home.resume_at(point, self.there)

    def end(self) -> None:
        """Give the ids for this process alone."""
        self._log.follower = None

    def publish(self, told: Mapping[str, Any], data: bytes) -> None:
        """Append what the predecessor was given to publish."""
        draft = read_draft(told, data)
        self._log.append_draft(draft, refused=partial(self._refuse, draft.key))

    def relay(self, entry: Entry, recipients: int, key: Key | None) -> int:
        """Send a message to the predecessor, and return how many clients are still there or on the way
        here."""
        there, arriving = self.there, self.arriving
        if entry.to is None:
            elsewhere = len(there) + len(arriving - there)  # the second are a few, the first may be thousands
        else:
            elsewhere = sum(name in there or name in arriving for name in entry.to)
        fields = {"entry": entry_row(entry), "recipients": recipients + elsewhere, "key": key}
        self._send("message", fields, [entry.batch.wire])
        return elsewhere

    def cut_off(self, why: str) -> None:
        self._send("away", {"why": why})

    def back(self, recovered: bool) -> None:
        self._send("back", {"recovered": recovered})

    def replaced(self, client_id: str) -> None:
        """Close the connection of an id with the predecessor, or on its way here: a newer one is here or in
        another process."""
        if client_id in self.there:
            self._send("replaced", {"id": client_id})
        elif client_id in self.arriving:
            self.outdated.add(client_id)

    def _refuse(self, key: Key, why: Refusal) -> None:
        self._send("unpublished", {"key": key, "why": why.text, "code": why.code})
