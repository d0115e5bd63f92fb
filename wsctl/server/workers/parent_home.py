"""The home of a worker's log: its parent, which gives the ids of all workers. The worker's end."""

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Sequence
from typing import Any, Protocol

from wsctl.codes import ErrorCode
from wsctl.errors import CannotStart
from wsctl.ipc.framing import Packet, encode_packet
from wsctl.log.history import Entry, MessageId
from wsctl.log.home import Draft, Elsewhere, Home, Key, Refusal, RemoteConnection
from wsctl.log.message_log import MessageLog, read_id
from wsctl.log.refusals import AWAY, CONFIRM_TIMEOUT
from wsctl.log.transfer import ReceivedHistory, Send, draft_fields, read_entry
from wsctl.server.condition import Condition
from wsctl.server.workers.draft_queue import DraftQueue

BEGIN_TIMEOUT = 30.0
"""Seconds that a parent has to send the history: as long as it has for its first packet."""

END_TIMEOUT = 0.1
"""Seconds that a worker which ends waits for the parent to take what its last clients sent."""

GONE = "the parent process of the workers is gone"
"""The reason why a worker cannot start whose parent has ended."""

ALONE = f"{GONE}: these figures are of one worker alone, which closes its clients and ends"
"""The reason why nothing is published once the parent has ended, as the status tells it."""

RENEWAL_TIMEOUT = 10.0
"""Seconds that a parent has to go on as another program, before what is published counts as late: many times
what that takes on a busy machine."""

KINDS = frozenset(
    {
        "history",
        "begun",
        "message",
        "unpublished",
        "repeated",
        "away",
        "back",
        "replaced",
        "suspended",
        "renewing",
        "renewed",
        "presence",
    }
)
"""The kinds of packets that concern the log."""


WORKERS = "workers"
"""The holder of the connections of all other workers, for the presence here."""

NO_TOPICS = Refusal(
    ErrorCode.DEGRADED,
    "the parent process of the workers is of an earlier release and knows of no topics: upgrade the server",
)
"""The refusal of a message with a topic that the parent would deliver to everyone."""


class Outlet(Protocol):
    """The channel to the parent, as far as the log uses it."""

    send: Send

    def send_encoded(self, packets: bytes) -> None: ...

    @property
    def queued(self) -> int:
        """Bytes that wait for the parent."""


class ParentHome(Home):
    """The parent as the home of a log, for the worker of this `number`. `replaced` is called with the id of
    a client that has newer connections at other workers, and the serial of the one that ends; `presence` is
    told of the connections of the others.

    What the parent keeps arrives all the time, also while another process takes part for this one: it waits
    here until this one goes on, or is told that its log has it.
    """

    def __init__(
        self,
        log: MessageLog,
        channel: Outlet,
        replaced: Callable[[str, int | None], None],
        *,
        number: int,
        presence: Elsewhere,
    ) -> None:
        self._log = log
        self._channel = channel
        self._replaced = replaced
        self._number = number
        self._presence = presence
        self._why: str | None = None
        self._gone = self._taking = self._suspended = False
        self._knows_topics, self._learns = True, False
        self._arrived: deque[tuple[Entry, Key | None, int]] = deque()
        self._history = ReceivedHistory()
        self._preparing = False
        self._place: dict[str, Any] | None = None
        self._here: dict[int, RemoteConnection] = {}
        self._elsewhere: list[RemoteConnection] = []
        self._unsent: list[bytes] = []
        self._answer = asyncio.Event()
        self._drained = Condition()
        self._drafts = DraftQueue(self._send_draft, lambda: channel.queued > 0, log.refuse)

    @property
    def why(self) -> str | None:
        return self._why

    @property
    def finds_keys(self) -> bool:
        return True

    def publish(self, draft: Draft) -> None:
        fields, (data,) = draft_fields(draft)
        if self._suspended:
            return  # it is passed on again
        if self._gone:
            self._log.refuse(draft.key, AWAY)
        elif draft.topic is not None and not self._knows_topics:
            self._log.refuse(draft.key, NO_TOPICS)
        else:
            self._drafts.add(draft.key, fields, data)

    async def begin(self) -> None:
        self._learns, self._preparing = True, False
        await self._follow(history=True)
        self._take_arrived()

    async def prepare(self) -> None:
        self._preparing = True
        await self._follow(history=False)

    async def suspend(self) -> dict[str, Any]:
        """Take nothing more. When the parent has answered, it has everything that was said here."""
        self._suspended, self._learns = True, False
        self._drafts.drop()
        if not self._gone:
            await self._ask("suspend", {}, CONFIRM_TIMEOUT)
        self._taking = False
        return {"position": self._log.position}

    def resume(self, here: Collection[RemoteConnection]) -> None:
        self._here = {connection.serial: connection for connection in here}
        self._take_part()

    def resume_at(self, point: dict[str, Any], here: Collection[RemoteConnection]) -> None:
        self._here = {connection.serial: connection for connection in here} | self._here
        if self._place:  # that process, of an earlier release, did not have all
            self._history.restore(self._log, self._place)
            self._place = None
        self._take_part()

    def skip_to(self, message_id: MessageId) -> None:
        while self._arrived and self._arrived[0][0].id <= message_id:
            self._arrived.popleft()

    def joined(self, client_id: str, serial: int, patterns: Sequence[str]) -> None:
        self._note("joined", RemoteConnection(client_id, serial, tuple(patterns)))

    def subscribed(self, client_id: str, serial: int, patterns: Sequence[str]) -> None:
        self._note("subscribed", RemoteConnection(client_id, serial, tuple(patterns)))

    def _note(self, kind: str, connection: RemoteConnection) -> None:
        self._here[connection.serial] = connection
        if not self._suspended:
            patterns = {"patterns": connection.patterns} if connection.patterns else {}
            self._send(kind, {"id": connection.client_id, "serial": connection.serial, **patterns})

    def left(self, client_id: str, serial: int) -> None:
        if self._here.pop(serial, None) and not self._suspended:
            self._send("left", {"id": client_id, "serial": serial})

    async def end(self) -> None:
        if not self._gone:
            self._flush()
            await self._drained.wait_for(self._sent_all, END_TIMEOUT)

    # Packets of the parent

    def receive(self, packet: Packet) -> None:
        """Take a packet about the log: one of `KINDS`."""
        told = packet.fields
        match packet.kind:
            case "message":
                key = told["key"]
                self._take(read_entry(told["entry"], packet.blobs[0]), key and Key(*key), told["recipients"])
            case "unpublished":
                key = Key(*told["key"])
                self._drafts.answered(key)
                self._log.refuse(key, Refusal(ErrorCode(told["code"]), told["why"]))
            case "repeated":
                key = Key(*told["key"])
                self._drafts.answered(key)
                if (message_id := read_id(told["id"])) is not None:
                    self._log.answer_repeated(key, message_id)
            case "history":
                self._history.add(told, packet.blobs)
            case "begun":
                self._begun(told)
            case "suspended":
                self._answer.set()
            case "replaced" if told["serial"] in self._here and not self._suspended:
                self._replaced(told["id"], told["serial"])
            case "presence" if self._learns:
                self._learn(told)
            case _:
                self._parent_changed(packet)

    def _parent_changed(self, packet: Packet) -> None:
        """Take a packet about the parent itself, or the home of its log."""
        match packet.kind:
            case "renewing":
                self._drafts.wait_longer(RENEWAL_TIMEOUT)
            case "renewed":
                self._knows_topics = "topics" in packet.fields
                self._drafts.wait_longer(CONFIRM_TIMEOUT)
            case "away":
                self._cut_off(packet.fields["why"])
            case "back":
                self._why = None
                if self._log.home is self:  # or else the successor passes it on
                    self._log.back(packet.fields["recovered"])

    def _learn(self, told: dict[str, Any]) -> None:
        """Take what is told of the connections of all workers."""
        rows = [RemoteConnection(*row) for number, *row in told["connections"] if number != self._number]
        if "more" in told:
            self._elsewhere += rows
        elif "whole" in told:
            self._elsewhere, rows = [], self._elsewhere
            self._presence.learn(WORKERS, rows, whole=True)
        else:
            self._presence.learn(WORKERS, rows)

    def drained(self) -> None:
        """Send what waits: the channel has taken all that was sent."""
        self._drafts.send_waiting()
        self._drained.notify_all()

    def _sent_all(self) -> bool:
        return self._drafts.idle and not self._unsent and not self._channel.queued

    def lose(self) -> None:
        """Note that the parent is gone: nothing is published any more."""
        self._gone = True
        self._answer.set()
        self._drafts.refuse_all()
        self._cut_off(ALONE)

    def _cut_off(self, why: str) -> None:
        self._why = why
        if self._log.home is self:
            self._log.cut_off(why)

    def _begun(self, told: dict[str, Any]) -> None:
        self._why = told["why"]
        self._knows_topics = "topics" in told
        if "position" in told and self._preparing:
            self._place = told
        elif "position" in told:
            self._history.restore(self._log, told)
        self._answer.set()

    def _take(self, entry: Entry, key: Key | None, recipients: int) -> None:
        if key:  # also of what a predecessor published through this process
            self._drafts.answered(key)
        if self._taking:
            self._take_new(entry, key, recipients)
        else:
            self._arrived.append((entry, key, recipients))

    def _take_new(self, entry: Entry, key: Key | None, recipients: int) -> None:
        """Take a message that the log has not. It may have it from a predecessor, to which it came sooner."""
        if entry.id > self._log.position:
            self._log.take(entry, key, recipients=recipients)

    def _take_part(self) -> None:
        self._suspended, self._learns = False, True
        rows = [each if each.patterns else each[:2] for each in self._here.values()]
        self._send("present", {"clients": rows})
        self._take_arrived()

    def _take_arrived(self) -> None:
        self._taking = True
        arrived, self._arrived = self._arrived, deque()
        for each in arrived:
            self._take_new(*each)

    def _send_draft(self, fields: dict[str, Any], data: bytes) -> None:
        """Send a draft at the end of this iteration of the loop: what comes in one is sent together."""
        if not self._unsent:
            asyncio.get_running_loop().call_soon(self._flush)
        self._unsent.append(encode_packet("publish", fields, [data], ()))

    def _send(self, kind: str, fields: dict[str, Any]) -> None:
        """Send a packet behind the drafts that were published before."""
        self._flush()
        self._channel.send(kind, fields)

    def _flush(self) -> None:
        if self._unsent:
            packets, self._unsent = b"".join(self._unsent), []
            self._channel.send_encoded(packets)

    async def _follow(self, *, history: bool) -> None:
        if not await self._ask("follow", {"history": history, "topics": True}, BEGIN_TIMEOUT):
            raise CannotStart("the parent process of the workers does not answer")
        if self._gone:
            raise CannotStart(GONE)

    async def _ask(self, kind: str, fields: dict[str, Any], patience: float) -> bool:
        """Send a packet that has an answer; tell whether that came, or the end of the parent."""
        self._answer.clear()
        if self._gone:
            return True
        self._send(kind, fields)
        try:
            async with asyncio.timeout(patience):
                await self._answer.wait()
        except TimeoutError:
            return False
        return True
