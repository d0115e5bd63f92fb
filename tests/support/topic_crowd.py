"""Many clients in many topics, whose patterns overlap: what each of them must see is known by its patterns,
and what there was to see by all of them together."""

import asyncio
import json
import re
import time
from collections import defaultdict
from itertools import cycle
from typing import Any

from tests.support.crowd import Crowd, CrowdClient, frame_at
from tests.support.raw import handshake, masked
from wsctl.frame import TEXT
from wsctl.log.history import MessageId
from wsctl.log.message_log import read_id, written
from wsctl.topics import matches

TOPICS = [f"a{i}.b{j}" for i in range(10) for j in range(5)]

EVERY = 5
"""Of so many messages, one has no topic."""

_MESSAGE = re.compile(
    rb'\{"type":"message","id":"(\d+-\d+)","ts":[0-9.e+]+,"from":"[^"]*"(?:,"topic":"([^"]+)")?,'
)


def topic_of(text: str) -> str | None:
    """The topic that a text with a number in it is published to; None for everybody."""
    n = int(re.sub(r"\D", "", text) or 0)
    return None if text.startswith("last") or n % EVERY == 0 else TOPICS[n // EVERY * 7 % len(TOPICS)]


def patterns_of(number: int) -> tuple[str, ...]:
    """The patterns of the client with this number: none, one, or several that match some topics twice."""
    i, j = number % 10, number // 10 % 5
    kinds = [
        (),
        (">",),
        (f"a{i}.*",),
        (f"*.b{j}", f"a{i}.b{j}"),
        (f"a{i}.>", f"*.b{j}", "a0.b0"),
        (f"a{i}.b{j}",),
    ]
    return kinds[number % len(kinds)]


class TopicCrowd(Crowd):
    """A crowd of which every other client speaks commands; all tell what they subscribe to when they connect.
    The newest message must be for everybody, and all must have seen it, before the crowd is judged.

    Attributes:
        texts: of each id, what was published and the topic.
        accepted: the ids of texts that clients published and were answered for.
        sent: texts that clients published by commands.
        changes: subscriptions that were begun or ended on open connections.
    """

    clients: list["TopicClient"]  # type: ignore[assignment]

    def __init__(self, *ports: int, resumes: bool = False) -> None:
        super().__init__(*ports, resumes=resumes)
        self.texts: dict[MessageId, tuple[str, str | None]] = {}
        self.accepted: dict[str, str] = {}
        self.sent: set[str] = set()
        self.changes = 0
        self._payloads: dict[MessageId, bytes] = {}

    def make(self, number: int) -> "TopicClient":
        return TopicClient(self, number)

    async def change(self, rate: float, over: asyncio.Event) -> None:
        """Have those that speak commands subscribe to more topics and to less, so often a second; in the end
        everything is answered."""
        due = time.monotonic()
        for client in cycle([client for client in self.clients if client.commands]):
            if over.is_set():
                break
            client.change()
            due += 1 / rate
            await asyncio.sleep(max(0.0, due - time.monotonic()))
        await self.until(lambda: not any(client.asked for client in self.clients))

    def first_seen(self, at: MessageId, topic: str | None, payload: bytes) -> None:
        """Note what one of them was sent; for all of them it must be the same."""
        known = self._payloads.setdefault(at, payload)
        if known is payload:
            self.texts[at] = json.loads(payload)["data"], topic
        elif known != payload:
            self.faults.append(f"{payload!r} is not {known!r}")

    async def level_behind(self, message_id: str) -> None:
        """Wait until all have seen everything up to this message, which is for everybody."""
        at = read_id(message_id)
        assert at
        await self.until(lambda: all(client.newest_for_all >= at for client in self.clients))

    def judge(self, accepted: dict[str, str]) -> dict[str, int]:
        """Fail if anything was missed, repeated, or seen by somebody who did not subscribe to it; the
        figures. `accepted` are the ids of texts that were published from outside."""
        assert self.faults == [], self.faults[:5]
        ids = {text: written(at) for at, (text, _) in self.texts.items()}
        assert len(ids) == len(self.texts)
        for text, at in (accepted | self.accepted).items():
            assert ids.get(text) == at, text
        for at, (text, topic) in self.texts.items():
            assert text not in accepted or topic == topic_of(text), (at, text, topic)
        for client in self.clients:
            wanted = {at for at, (_, topic) in self.texts.items() if client.wants(at, topic)}
            assert wanted - client.ids == set(), f"{client.name} missed of {len(wanted)}"
            assert client.ids - wanted == set(), f"{client.name} had not subscribed to"
        return {
            "messages": len(self.texts),
            "deliveries": sum(len(client.ids) for client in self.clients),
            "resumed": self.resumed,
            "changes": self.changes,
        }

    def behind(self) -> str:
        clients = sorted(self.clients, key=lambda client: client.newest_for_all)
        return str([(c.name, c.newest_for_all, c.welcomed, c.asked) for c in clients[:5]])


class TopicClient(CrowdClient):
    """One of them.

    Attributes:
        commands: whether it speaks `wsctl.2`.
        ids: of the messages that it has seen.
        asked: commands that are not answered, by their `ref`.
    """

    crowd: TopicCrowd

    def __init__(self, crowd: TopicCrowd, number: int) -> None:
        super().__init__(crowd, number)
        self.name = f"t{number}"
        self.commands = number % 2 == 0
        self.ids: set[MessageId] = set()
        self.asked: dict[int, dict[str, Any]] = {}
        self._patterns = dict.fromkeys(patterns_of(number // 2))
        self._extra = [f"a{(number + 3) % 10}.*", f"*.b{(number + 1) % 5}"]
        # When it subscribed to what: behind which message, and up to which.
        self._open: dict[str, MessageId] = {}
        self._closed: dict[str, list[tuple[MessageId, MessageId]]] = defaultdict(list)
        self._newest: MessageId = (0, 0)
        self._newest_of: dict[str | None, MessageId] = {}
        self._ref = 0

    def wants(self, at: MessageId, topic: str | None) -> bool:
        """Whether it was to see this message."""
        if topic is None:
            return at > self._begun
        if any(begin < at for pattern, begin in self._open.items() if matches(pattern, topic)):
            return True
        closed = [spans for pattern, spans in self._closed.items() if matches(pattern, topic)]
        return any(begin < at <= end for spans in closed for begin, end in spans)

    @property
    def _begun(self) -> MessageId:
        return read_id(self._first) or (0, 0)

    def send(self, text: str) -> bool:
        if not self.commands:
            return super().send(text)
        if self.welcomed:
            topic = topic_of(text)
            self.crowd.sent.add(text)
            self._command("publish", data=text, **({} if topic is None else {"topic": topic}))
        return self.welcomed

    def change(self) -> None:
        """Subscribe to a pattern, from the newest message on that it has seen, or end that."""
        if not self.welcomed or any(asked["type"] != "publish" for asked in self.asked.values()):
            return
        pattern = self._extra[0]
        self.crowd.changes += 1
        if pattern in self._patterns:
            del self._patterns[pattern]
            self._extra.reverse()
            self._command("unsubscribe", topics=[pattern])
        else:
            self._patterns[pattern] = None
            self._command("subscribe", topics=[pattern], since=written(self._newest))

    def connection_lost(self, exc: Exception | None) -> None:
        for asked in self.asked.values():
            if asked["type"] == "unsubscribe":
                self._end(asked["topics"])
        self.asked.clear()
        super().connection_lost(exc)

    def _command(self, kind: str, **fields: Any) -> None:
        self._ref += 1
        self.asked[self._ref] = {"type": kind, "ref": self._ref, **fields}
        if self.transport:
            self.transport.write(masked(TEXT, json.dumps(self.asked[self._ref]).encode()))

    def _handshake(self) -> bytes:
        query = [f"topic={pattern}" for pattern in self._patterns]
        if self._newest != (0, 0):
            query.append(f"since={written(self._newest)}")
        headers = ["Sec-WebSocket-Protocol: wsctl.2"] if self.commands else []
        return handshake(f"/ws/{self.name}?{'&'.join(query)}", *headers)

    def _receive(self, data: bytes) -> None:
        data = self._rest + data
        at = 0
        while (frame := frame_at(data, at)) is not None:
            end, payload = frame
            if found := _MESSAGE.match(payload):
                self._see(found, payload)
            else:
                self._read(data[at], payload)
            at = end
        self._rest = data[at:]

    def _see(self, found: re.Match[bytes], payload: bytes) -> None:
        at, topic = read_id(found[1].decode()), found[2].decode() if found[2] else None
        assert at
        self.crowd.first_seen(at, topic, payload)
        if at in self.ids:
            self.crowd.faults.append(f"{self.name} saw {at} twice")
        if topic and not any(matches(pattern, topic) for pattern in self._any_pattern()):
            self.crowd.faults.append(f"{self.name} saw {at} of {topic}")
        if at < self._newest_of.get(topic, at) or (not self.commands and at < self._newest):
            self.crowd.faults.append(f"{self.name} saw {at} behind {self._newest}")
        self.ids.add(at)
        self._newest_of[topic] = at
        self._newest = max(self._newest, at)

    @property
    def newest_for_all(self) -> MessageId:
        """The newest message without a topic that it has seen."""
        return self._newest_of.get(None, (0, 0))

    def _any_pattern(self) -> set[str]:
        """The patterns of which messages may come."""
        return {*self._patterns, *self._open}

    def _welcome(self, frame: dict[str, Any]) -> None:
        if frame.get("lost"):
            self.crowd.faults.append(f"{self.name} has lost {frame['lost']}")
        super()._welcome(frame)
        self._begin(self._patterns, self._newest if self._newest != (0, 0) else self._begun)
        self._newest = max(self._newest, self._begun)

    def _hear(self, frame: dict[str, Any]) -> None:
        asked = self.asked.pop(frame.get("ref", 0), None)
        if asked is None or frame["type"] not in ("ok", "error"):
            super()._hear(frame)
        elif frame["type"] == "error":
            super()._hear(frame)
            if asked["type"] != "publish":
                self.crowd.faults.append(f"{self.name}: {asked} {frame}")
        else:
            self._answered(asked, frame)

    def _answered(self, asked: dict[str, Any], frame: dict[str, Any]) -> None:
        match asked["type"]:
            case "publish":
                self.crowd.accepted[asked["data"]] = frame["id"]
            case "subscribe":
                if frame.get("recovered") is not True:
                    self.crowd.faults.append(f"{self.name} has lost something: {frame}")
                self._begin(asked["topics"], read_id(asked["since"]) or (0, 0))
            case "unsubscribe":
                self._end(asked["topics"])

    def _begin(self, patterns: Any, at: MessageId) -> None:
        for pattern in patterns:
            self._open.setdefault(pattern, at)

    def _end(self, patterns: Any) -> None:
        for pattern in patterns:
            if pattern in self._open:
                self._closed[pattern].append((self._open.pop(pattern), self._newest))
