"""The log of all workers, in their parent, which gives the ids and keeps the history. The parent's end."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from wsctl.ipc.framing import Packet, encode_packet
from wsctl.log.history import Entry
from wsctl.log.home import Key, Refusal, RemoteConnection
from wsctl.log.message_log import MessageLog
from wsctl.log.transfer import (
    ReceivedHistory,
    append_sent,
    draft_fields,
    entry_row,
    history_packets,
    history_place,
)
from wsctl.server.workers.group_presence import GroupPresence, Holder

MOST_BEHIND = 64 << 20
"""Bytes that may wait for one worker: some seconds of all that a server can publish, and as much memory as a
parent can do without. A worker that is further behind is stopped or hangs; it is killed, another one is
started, and its clients resume there or elsewhere."""

MOST_WRITERS = 1000
"""Processes whose newest message is remembered: far more than there are between a message and its
repetition."""

KINDS = frozenset({"follow", "publish", "joined", "subscribed", "left", "present", "suspend"})
"""The kinds of packets that concern the log."""

log = logging.getLogger("wsctl.workers")


class FollowingWorker(Holder, Protocol):
    """A worker as the log sees it."""

    @property
    def queued(self) -> int:
        """Bytes that wait for the worker."""

    def send_encoded(self, packets: bytes) -> None: ...

    def send_packet(self, kind: str, fields: dict[str, Any], blobs: Any = ()) -> None: ...

    async def take_all(self) -> None:
        """Wait until the worker has taken everything that was sent, or is gone."""

    def kill(self) -> None: ...


class _Unsent(NamedTuple):
    """An encoded packet, and whether only workers that know of topics can read it."""

    packet: bytes
    topics: bool


class GroupLog:
    """The log of all workers: it appends their drafts, each key once, and sends each message to all of them.
    Up to `most_behind` bytes may wait for one of them. A client has at most `per_client` connections, 0 for
    any number.

    Attributes:
        log: the log; it has no clients of its own.
        presence: which worker has which client.
    """

    def __init__(
        self,
        most: int,
        most_bytes: int,
        *,
        wall: Callable[[], float] = time.time,
        ttl: float = 0.0,
        most_behind: int = MOST_BEHIND,
        per_client: int = 1,
    ) -> None:
        self.log = MessageLog(lambda entry: 0, most, most_bytes, wall, ttl)
        self.log.follower = self
        self.presence = GroupPresence(per_client, self._schedule_flush)
        self._most_behind = most_behind
        self._following: list[FollowingWorker] = []
        self._know_topics: set[FollowingWorker] = set()
        self._starting: dict[FollowingWorker, asyncio.Task[None]] = {}
        self._writers: dict[str, int] = {}
        self._unsent: list[_Unsent] = []
        self._flushing = False
        self._point: dict[str, Any] | None = None

    async def begin(self) -> None:
        """Load what is kept, before the first worker is started.

        Raises:
            CannotStart: the home of the log cannot be used.
        """
        await self.log.home.begin()

    async def end(self) -> None:
        """Let go of the home, after the last worker has ended."""
        await self.log.home.end()

    # The same parent as another program

    async def suspend(self) -> None:
        """Let go of the home, so that another program can go on with it from `state`. What workers publish
        meanwhile waits, unless the home is this process, which then gives ids as before."""
        self._send_to_all("renewing", {})
        self._point = await self.log.home.suspend()

    def resume(self) -> None:
        """Go on after `suspend`: there is no other program."""
        self.log.home.resume(())
        self.log.move_to(self.log.home)
        self._send_to_all("renewed", {"topics": True})

    def state(self) -> list[Packet]:
        """Return the state as it is now, from which another program goes on by `resume_at`."""
        self._flush()
        log = self.log
        facts = {
            **history_place(log),
            "published": log.published,
            "keys": log.seen_keys.rows(),
            "point": self._point,
            "writers": self._writers,
            "clients": self.presence.rows(),
            "following": [worker.pid for worker in self._following],
            "starting": [worker.pid for worker in self._starting],
            "topics": [worker.pid for worker in self._know_topics],
        }
        return [
            *(Packet("history", *packet, []) for packet in history_packets(log.history, (0, 0))),
            *(Packet("draft", *draft_fields(draft), []) for draft in log.drafts),
            Packet("log", facts, [], []),
        ]

    def resume_at(self, packets: Sequence[Packet], workers: Mapping[int, FollowingWorker]) -> None:
        """Go on where `state` was taken, with these workers by their pids, in place of `begin`."""
        history = ReceivedHistory()
        for packet in packets:
            told = packet.fields
            match packet.kind:
                case "history":
                    history.add(told, packet.blobs)
                case "log":
                    history.restore(self.log, told)
                    self.log.published = told["published"]
                    self.log.seen_keys.restore(told.get("keys", ()))
                    self._writers = dict(told["writers"])
                    self.presence.restore(told["clients"], workers)
                    self._following = [workers[pid] for pid in told["following"] if pid in workers]
                    self._know_topics = {workers[pid] for pid in told.get("topics", ()) if pid in workers}
                    if told["point"]:
                        self.log.home.resume_at(told["point"], ())
                    for pid in told["starting"]:
                        if pid in workers:
                            self._start(workers[pid], history=True)
        if self._following:
            self._send_to_all("renewed", {"topics": True})
        for packet in packets:
            if packet.kind == "draft":
                self._append(packet.fields | {"again": True}, packet.blobs[0])

    # Packets of workers

    def receive(self, worker: FollowingWorker, packet: Packet) -> None:
        """Take a packet about the log: one of `KINDS`."""
        told = packet.fields
        match packet.kind:
            case "publish":
                self._publish(told, packet.blobs[0])
            case "joined":
                self.presence.joined(worker, _connected(told))
            case "subscribed":
                self.presence.subscribed(worker, _connected(told))
            case "left":
                self.presence.left(worker, told["id"], told["serial"])
            case "follow":
                self._begin(worker, history=told["history"], topics="topics" in told)
            case "present":
                self._present(worker, told["clients"])
            case "suspend":
                self._flush()
                worker.send("suspended")

    def exited(self, worker: FollowingWorker) -> None:
        """Note that a worker's process has ended."""
        self._drop(worker)
        self._know_topics.discard(worker)
        others = [each for each in self._following if each.number == worker.number]
        self.presence.exited(worker, others[0] if others else None)

    # The follower of the log

    def relay(self, entry: Entry, recipients: int, key: Key | None) -> int:
        """Send a message to all workers, encoded once; return how many connections it goes to."""
        count = self.presence.count(entry.to, entry.topic)
        fields = {"entry": entry_row(entry), "recipients": recipients + count, "key": key}
        self._send_to_all("message", fields, entry.batch.wire, topics=entry.topic is not None)
        return count

    def cut_off(self, why: str) -> None:
        self._send_to_all("away", {"why": why})

    def back(self, recovered: bool) -> None:
        self._send_to_all("back", {"recovered": recovered})

    def replaced(self, client_id: str, serial: int | None) -> None:
        raise AssertionError("no other server shares this log")

    # Drafts

    def _publish(self, told: Mapping[str, Any], data: bytes) -> None:
        """Append a draft, unless one of its writer that came later was appended: it is a repetition, and its
        worker has the message, or gets it."""
        key = Key(*told["key"])
        newest = self._writers.pop(key.writer, 0)
        self._writers[key.writer] = max(newest, key.n)
        if key.n <= newest:
            return
        if len(self._writers) > MOST_WRITERS:
            del self._writers[next(iter(self._writers))]
        self._append(told, data)

    def _append(self, told: Mapping[str, Any], data: bytes) -> None:
        append_sent(self.log, told, data, refused=self._refuse, repeated=self._answer_repeated)

    def _refuse(self, key: Key, why: Refusal) -> None:
        # To all: in an upgrade another process may have the draft by now.
        self._send_to_all("unpublished", {"key": key, "why": why.text, "code": why.code})

    def _answer_repeated(self, key: Key, message_id: str) -> None:
        # One of an earlier release has sent no idempotency key, and knows no such answer.
        self._send_to_all("repeated", {"key": key, "id": message_id}, topics=True)

    # What is sent

    def _send_to_all(self, kind: str, fields: dict[str, Any], *blobs: bytes, topics: bool = False) -> None:
        """Send a packet to all workers, at the end of this iteration of the loop: what comes in one is sent
        together. One about `topics` goes only to those that know of any."""
        self._schedule_flush()
        self._unsent.append(_Unsent(encode_packet(kind, fields, blobs, ()), topics))

    def _schedule_flush(self) -> None:
        if not self._flushing:
            self._flushing = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        if news := self.presence.news():
            self._unsent.append(_Unsent(encode_packet("presence", news, (), ()), topics=True))
        if self._unsent:
            unsent, self._unsent = self._unsent, []
            packets = b"".join(each.packet for each in unsent)
            for worker in list(self._following):
                if worker.queued > self._most_behind:
                    self._give_up(worker)
                elif worker in self._know_topics:
                    worker.send_encoded(packets)
                else:
                    worker.send_encoded(b"".join(each.packet for each in unsent if not each.topics))

    def _give_up(self, worker: FollowingWorker) -> None:
        log.error("a worker is too far behind and is killed", extra={"fields": {"pid": worker.pid}})
        self._drop(worker)
        worker.kill()

    def _drop(self, worker: FollowingWorker) -> None:
        if worker in self._following:
            self._following.remove(worker)
        if task := self._starting.pop(worker, None):
            task.cancel()

    # The start of a worker

    def _begin(self, worker: FollowingWorker, *, history: bool, topics: bool) -> None:
        """Let a worker begin to follow; one of an earlier release knows of no topics. A process that goes on
        for such a one gets the history from here."""
        if history:  # it begins anew, and has no connections: a process that it was to replace is gone
            self.presence.present(worker, ())
        if topics:
            self._know_topics.add(worker)
            before = [each for each in self._following if each.number == worker.number]
            history = history or any(each not in self._know_topics for each in before)
        self._start(worker, history=history)

    def _present(self, worker: FollowingWorker, rows: Sequence[Sequence[Any]]) -> None:
        """Take the connections of a worker in place of those of the process before; it is told of the
        others."""
        self.presence.present(worker, [RemoteConnection(*row) for row in rows])
        if worker in self._know_topics:
            self.presence.send_all(worker)

    def _start(self, worker: FollowingWorker, *, history: bool) -> None:
        """Let a worker follow; without `history` it has that from another process."""
        if history:
            self._starting[worker] = asyncio.create_task(self._send_history(worker))
        else:
            self._follow(worker, {})

    async def _send_history(self, worker: FollowingWorker) -> None:
        """Send the history, as fast as the worker takes it, then let the worker follow."""
        sent, topics = self.log.position, worker in self._know_topics
        for packet in history_packets(self.log.history, topics=topics):
            worker.send_packet("history", *packet)
            await worker.take_all()
        for packet in history_packets(self.log.history, sent, topics=topics):
            worker.send_packet("history", *packet)
        self._starting.pop(worker, None)
        self._follow(worker, history_place(self.log, topics=topics))

    def _follow(self, worker: FollowingWorker, place: dict[str, Any]) -> None:
        self._flush()  # what is in the history already is not sent again
        worker.send_packet("begun", {"why": self.log.home.why, "topics": True, **place})
        if place and worker in self._know_topics:
            self.presence.send_all(worker)
        if worker not in self._following:
            self._following.append(worker)


def _connected(told: Mapping[str, Any]) -> RemoteConnection:
    """Return a connection of which a worker tells; one of an earlier release has no subscriptions."""
    return RemoteConnection(told["id"], told["serial"], tuple(told.get("patterns", ())))
