"""A client that subscribes with `since` while it is connected: whatever waits for it, it sees each message of
its topics once, in order, and live messages behind those that it missed."""

import asyncio
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.server.websocket.test_endpoint import Peer
from tests.support.frames import read
from tests.support.services import Services
from tests.support.transport import HandTransport
from tests.support.wires import MakeServer, Server, client, close_of, frames, servers, turn
from wsctl.frame import TEXT
from wsctl.server.websocket.command_handler import MAX_REPLAYS
from wsctl.server.websocket.endpoint import AsgiAcceptor
from wsctl.server.websocket.snapshot import decode_snapshots, encode_snapshots
from wsctl.server.websocket.wire import Wire
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

    def __init__(self, server: Server, topics: Sequence[str]) -> None:
        self.server = server
        self.patterns = set(topics)
        self.published: list[tuple[str, str | None]] = [(server.node.log.newest, None)]
        self.expected: list[Any] = []

    def publish(self, topic: str | None, size: int) -> None:
        n = len(self.published)
        self.server.publish([n, "." * size], topic=topic)
        self.published.append((self.server.node.log.newest, topic))
        if self._has(topic, self.patterns):
            self.expected.append(n)

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


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    steps=STEPS, deflate=st.booleans(), topics=st.lists(st.sampled_from(PATTERNS), max_size=2, unique=True)
)
def test_whatever_happens_a_client_sees_each_message_once_and_in_order(
    steps: list[tuple[Any, ...]], deflate: bool, topics: list[str]
) -> None:
    async def run() -> None:
        with servers() as make:
            server = make(max_queue=0)
            model = Model(server, topics)
            wire, transport = server.join("bob", topics=topics, commands=True, deflate=deflate)
            for step in steps:
                match step:
                    case "publish", topic, size:
                        model.publish(topic, size)
                    case "many", topic, count:
                        for _ in range(count):
                            model.publish(topic, 1500)
                    case "subscribe", patterns, since:
                        if since is not None and wire.replays >= MAX_REPLAYS:
                            continue
                        command = {"type": "subscribe", "topics": patterns}
                        seen = model.subscribe(patterns, since)
                        wire.data_received(client(TEXT, json.dumps(command | {"since": seen}).encode()))
                    case "unsubscribe", pattern:
                        model.patterns.discard(pattern)
                        model.expected.append("ok")
                        command = {"type": "unsubscribe", "topics": [pattern]}
                        wire.data_received(client(TEXT, json.dumps(command).encode()))
                    case "read", size:
                        transport.read(size)
                        transport.writable()
                    case _:
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
