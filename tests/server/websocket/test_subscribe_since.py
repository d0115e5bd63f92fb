"""A client that subscribes with `since` while it is connected: whatever waits for it, it sees each message of
its topics once, in order, and live messages behind those that it missed."""

import asyncio
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from tests.server.websocket.test_endpoint import Peer
from tests.support.frames import read
from tests.support.server import DEADLINE
from tests.support.services import Services
from tests.support.sizes import examples
from tests.support.transport import HandTransport
from tests.support.wires import MakeServer, client, close_of, frames, servers, turn
from wsctl.frame import TEXT
from wsctl.hub.replays import Replays
from wsctl.log.message_log import MessageLog
from wsctl.server.websocket.command_handler import MAX_REPLAYS
from wsctl.server.websocket.endpoint import AsgiAcceptor
from wsctl.server.websocket.snapshot import decode_snapshots, encode_snapshots
from wsctl.server.websocket.wire import Wire
from wsctl.settings import Rate
from wsctl.topics import matches

pytestmark = pytest.mark.anyio

TOPICS = ("a.x", "a.y", "b.x", "b.y", None)
PATTERNS = ("a.x", "a.*", "*.x", "b.>", ">", "b.y")

PUBLISH = st.tuples(st.just("publish"), st.sampled_from(TOPICS), st.sampled_from([1, 300, 5000]))
SUBSCRIBE = st.tuples(
    st.just("subscribe"),
    st.lists(st.sampled_from(PATTERNS), min_size=1, max_size=2, unique=True),
    st.none() | st.integers(0, 30),
)
UNSUBSCRIBE = st.tuples(st.just("unsubscribe"), st.sampled_from(PATTERNS))
READ = st.tuples(st.just("read"), st.sampled_from([100, 4000, 100_000]))
MANY = st.tuples(st.just("many"), st.sampled_from(TOPICS), st.integers(20, 60))
STEPS = st.lists(PUBLISH | SUBSCRIBE | UNSUBSCRIBE | READ | MANY | st.just(("flush",)), max_size=25)


class Model:
    """What one client must see: data of messages by their numbers, and answers."""

    def __init__(self, log: MessageLog, topics: Sequence[str]) -> None:
        self.log = log
        self.patterns = set(topics)
        self.published: list[tuple[str, str | None]] = [(log.newest, None)]
        self.expected: list[Any] = []

    def publish(self, topic: str | None, size: int) -> None:
        n = len(self.published)
        self.log.append("server", [n, "." * size], topic=topic)
        self.published.append((self.log.newest, topic))
        if self._has(topic, self.patterns):
            self.expected.append(n)

    def step(self, step: tuple[Any, ...], replays: int) -> dict[str, Any] | None:
        """Publish, or return the command that the client sends; None when the step is for the transport."""
        match step:
            case "publish", topic, size:
                self.publish(topic, size)
            case "many", topic, count:
                for _ in range(count):
                    self.publish(topic, 1500)
            case "subscribe", patterns, since if since is None or replays < MAX_REPLAYS:
                return {"type": "subscribe", "topics": patterns, "since": self.subscribe(patterns, since)}
            case "unsubscribe", pattern:
                self.patterns.discard(pattern)
                self.expected.append("ok")
                return {"type": "unsubscribe", "topics": [pattern]}
        return None

    def subscribe(self, patterns: Sequence[str], since: int | None) -> str | None:
        """Note what must come of it; return the id to name."""
        self.expected.append("ok")
        seen = None if since is None else min(since, len(self.published) - 1)
        if seen is not None:
            for n, (_, topic) in enumerate(self.published):
                missed = self._has(topic, set(patterns)) and not self._has(topic, self.patterns)
                if n > seen and topic is not None and missed:
                    self.expected.append(n)
        self.patterns |= set(patterns)
        return None if seen is None else self.published[seen][0]

    def _has(self, topic: str | None, patterns: set[str]) -> bool:
        return topic is None or any(matches(pattern, topic) for pattern in patterns)


def seen_in(found: Sequence[Mapping[str, Any]]) -> list[Any]:
    return [f["data"][0] if f["type"] == "message" else f["type"] for f in found[1:]]


@examples(80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    steps=STEPS, deflate=st.booleans(), topics=st.lists(st.sampled_from(PATTERNS), max_size=2, unique=True)
)
def test_whatever_happens_a_client_sees_each_message_once_and_in_order(
    steps: list[tuple[Any, ...]], deflate: bool, topics: list[str]
) -> None:
    async def run() -> None:
        with servers() as make:
            server = make(max_queue=0)
            model = Model(server.node.log, topics)
            wire, transport = server.join("bob", topics=topics, commands=True, deflate=deflate)
            for step in steps:
                if command := model.step(step, wire.replays):
                    wire.data_received(client(TEXT, json.dumps(command).encode()))
                elif step[0] == "read":
                    transport.read(step[1])
                    transport.writable()
                elif step[0] == "flush":
                    await turn()
            await turn()
            assert seen_in(_decoded(transport.drain())) == model.expected
            assert (wire.waiting, wire.replays, wire.behind) == (0, 0, False)

    asyncio.run(run())


def _decoded(received: bytes) -> list[dict[str, Any]]:
    found, rest = frames(received)
    assert not rest
    return [read(bytes(frame.data)) for frame in found]


def _subscribe(*topics: str, since: str) -> bytes:
    return client(TEXT, json.dumps({"type": "subscribe", "topics": topics, "since": since}).encode())


async def test_what_was_missed_is_not_held_against_the_queue_and_what_is_live_is(
    make_server: MakeServer,
) -> None:
    server = make_server(max_queue=50_000)
    since = server.node.log.newest
    for _ in range(300):
        server.publish("." * 950, topic="a")
    await turn()
    wire, transport = server.join("bob", topics=["b"], commands=True)
    while wire.waiting < 30_000:
        server.publish("." * 950, topic="b")
        await turn()
    wire.data_received(_subscribe("a", since=since))
    await turn()
    assert wire.end_reason is None
    assert wire.waiting > 300_000
    live = 0
    while wire.end_reason is None:
        server.publish("." * 950, topic="b")
        live += 1000
        await turn()
    assert 10_000 < live < 30_000
    assert (wire.code, wire.replays) == (1013, 0)
    assert close_of(frames(transport.drain())[0])[0] == 1013


async def test_between_two_slices_of_what_was_missed_nothing_live_goes_out(make_server: MakeServer) -> None:
    server = make_server()
    loop = asyncio.get_running_loop()
    in_rotation = Replays(1 << 20, lambda: server.now, loop.call_soon, loop.call_later)
    server.services = replace(server.services, replays=in_rotation)
    since = server.node.log.newest
    for n in range(300):
        server.publish([n, "." * 950], topic="a")
    wire, transport = server.join("bob", topics=["b"], commands=True, buffer=1 << 22)
    wire.data_received(_subscribe("a", since=since))
    for n in range(300, 320):
        server.publish([n], topic="b")
        await asyncio.sleep(0)
    async with asyncio.timeout(DEADLINE):
        while wire.behind:
            await turn()
    assert seen_in(_decoded(transport.drain())) == ["ok", *range(320)]


async def test_a_client_that_closes_in_the_middle_of_it_is_answered_and_sent_no_more(
    make_server: MakeServer,
) -> None:
    server = make_server()
    since = server.node.log.newest
    for n in range(400):
        server.publish("." * 950, topic="ab"[n % 2])
    await turn()
    wire, transport = server.join("bob", commands=True)
    wire.data_received(_subscribe("a", since=since))
    wire.data_received(_subscribe("b", since=since))
    await turn()
    assert (wire.replays, wire.undelivered > 200) == (2, True)
    wire.data_received(client(8, (1000).to_bytes(2)))
    assert (wire.waiting <= 70_000, wire.replays) == (True, 0)
    found, _ = frames(transport.drain())
    assert close_of(found)[0] == 1000


async def test_what_waits_for_a_client_moves_with_it_in_its_order(make_server: MakeServer) -> None:
    old, new = make_server(), make_server()
    since = old.node.log.newest
    for n in range(200):
        old.publish([n, "." * 950], topic="ab"[n % 2])
    await turn()
    wire, transport = old.join("bob", commands=True, topics=["live"])
    wire.data_received(_subscribe("a", since=since))
    await turn()
    old.publish([1000], topic="live")
    await turn()
    wire.data_received(_subscribe("b", since=since))
    await turn()
    old.publish([1001], topic="b")
    await turn()
    assert wire.replays == 2
    detached = wire.detach()
    transport.lose()
    os.close(detached.fd)
    rows, blobs = encode_snapshots([detached.snapshot])
    (snapshot,) = decode_snapshots(json.loads(json.dumps(rows)), blobs)
    there = HandTransport(over=transport)
    new.transports.append(there)
    moved = Wire(new.services, there, "bob", "192.0.2.1:5")
    there.set_protocol(moved)
    moved.restore(snapshot, [])
    assert (set(moved.subscriptions), moved.commands) == ({"live", "a", "b"}, True)
    expected = ["ok", *range(0, 200, 2), 1000, "ok", *range(1, 200, 2), 1001]
    assert seen_in(_decoded(there.drain())) == expected
    new.publish([1002], topic="a")
    await turn()
    assert seen_in(_decoded(there.drain())) == [*expected, 1002]


class SlowPeer(Peer):
    """A client of another server that takes so many frames, and then waits."""

    def __init__(self, *arguments: Any) -> None:
        self._room = asyncio.Semaphore(2)  # of the handshake and the welcome
        super().__init__(*arguments)

    def take(self, count: int) -> None:
        for _ in range(count):
            self._room.release()

    async def _take(self, event: Any) -> None:
        await self._room.acquire()
        await super()._take(event)


@examples(60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps=STEPS, topics=st.lists(st.sampled_from(PATTERNS), max_size=2, unique=True))
def test_under_another_server_whatever_happens_it_is_the_same(
    steps: list[tuple[Any, ...]], topics: list[str]
) -> None:
    async def run() -> None:
        services = Services(max_queue=0, rate=Rate(0, 1))
        query = "&".join(f"topic={quote(topic)}" for topic in topics)
        peer = SlowPeer("bob", {"sec-websocket-protocol": "wsctl.2"}, query)
        serving = asyncio.create_task(AsgiAcceptor(services.acceptors).accept(peer.websocket))
        await peer.sent(2)
        model = Model(services.connections.log, topics)
        (connection,) = services.connections.manager.active_connections.values()

        for step in steps:
            if command := model.step(step, connection.replays):
                services.flush()
                peer.say("websocket.receive", text=json.dumps(command))
                await services.called()
                services.flush()
            elif step[0] == "read":
                peer.take(step[1] // 1000)
                await turn()
            elif step[0] == "flush":
                services.flush()
                await turn()
        services.flush()
        peer.take(10_000)
        sent = await peer.sent(2 + len(model.expected))
        assert seen_in([read(event["text"]) for event in sent[1:]]) == model.expected
        assert (connection.waiting, connection.replays) == (0, 0)
        peer.leave()
        await serving

    asyncio.run(run())


async def test_under_another_server_it_is_the_same() -> None:
    services = Services()
    connections = services.connections
    peer = Peer("bob", {"sec-websocket-protocol": "wsctl.2, wsctl"}, "topic=live")
    serving = asyncio.create_task(AsgiAcceptor(services.acceptors).accept(peer.websocket))
    accepted, _ = await peer.sent(2)
    assert accepted["subprotocol"] == "wsctl.2"
    since = connections.log.newest
    for n in range(200):
        connections.log.append("server", [n, "." * 950], topic="ab"[n % 2])
    for topic in ("a", "b"):
        connections.log.append("server", ["live"], topic="live")
        services.flush()
        command = {"type": "subscribe", "topics": [topic], "since": since}
        peer.say("websocket.receive", text=json.dumps(command))
        await services.called()
        services.flush()
    connections.log.append("server", ["last"], topic="b")
    services.flush()
    found = [read(event["text"]) for event in (await peer.sent(2 + 205))[1:]]
    assert seen_in(found) == ["live", "ok", *range(0, 200, 2), "live", "ok", *range(1, 200, 2), "last"]
    peer.leave()
    await serving
