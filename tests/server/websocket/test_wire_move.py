"""Connections that go on in another process, cut anywhere and at any moment."""

import asyncio
import json
import logging
import os
import random
import socket
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Frame, Opcode

from tests.support.entries import missed_by
from tests.support.frames import read
from tests.support.server import DEADLINE
from tests.support.sizes import examples
from tests.support.transport import HandTransport
from tests.support.wires import (
    ANSWER,
    MakeServer,
    Server,
    client,
    close_of,
    closing,
    data_of,
    frames,
    turn,
)
from wsctl.frame import PING, Batch
from wsctl.hub.connection import EndReason
from wsctl.server.websocket.snapshot import ConnectionSnapshot, decode_snapshots, encode_snapshots
from wsctl.server.websocket.transport_connection import MAX_UNSENT_TO_MOVE
from wsctl.server.websocket.wire import Wire

pytestmark = pytest.mark.anyio


def _snapshot(wire: Wire, transport: HandTransport) -> ConnectionSnapshot:
    """It is detached, and what it takes with it crosses to the other process as it does in earnest."""
    detached = wire.detach()
    transport.writable()  # an event loop may flush once more
    transport.lose()
    os.close(detached.fd)
    rows, blobs = encode_snapshots([detached.snapshot])
    (snapshot,) = decode_snapshots(json.loads(json.dumps(rows)), blobs)
    return snapshot


class Journey:
    """A client, the server that it is at, and what each of the two has said."""

    def __init__(self, deflate: bool = False, room: int | None = None) -> None:
        self.servers = [Server(max_queue=0, history=1000)]
        self.wire, self.transport = self.servers[0].join("bob", deflate=deflate, room=room)
        self.published = 0

    @property
    def server(self) -> Server:
        return self.servers[-1]

    def publish(self, size: int, to: tuple[str, ...] | None = None) -> None:
        # Digits that hardly compress, so that there is something to wait for with deflate too.
        filling = f"{random.Random(size).getrandbits(4 * size or 1):x}"
        self.server.publish(f"{self.published}:{filling}", to)
        self.published += 1

    def hear(self, data: bytes) -> None:
        self.transport.protocol.data_received(data)

    def move(self, meanwhile: int = 0, room: int | None = None) -> ConnectionSnapshot:
        """Into the next process, where so many messages are published before it arrives."""
        old, old_wire, old_transport = self.server.node, self.wire, self.transport
        old.manager.flush()
        assert old_wire.can_move
        snapshot = _snapshot(old_wire, old_transport)
        self.transport = HandTransport(over=old_transport, room=room)
        self.servers.append(Server(max_queue=0, history=1000))
        self.server.transports.append(self.transport)
        log = self.server.node.log
        log.restore(old.log.position, old.log.history.floor, old.log.history.entries())
        for _ in range(meanwhile):
            self.publish(10)
        self.wire = Wire(self.server.node, self.transport, "bob", snapshot.address, snapshot.encoding)
        self.transport.set_protocol(self.wire)
        self.wire.restore(snapshot, missed_by(log, snapshot.seen, "bob") or ())
        return snapshot

    def end(self) -> list[Frame]:
        """Everything the client was ever sent, which must be whole frames."""
        self.transport.room = None
        received = self.transport.drain()
        assert self.wire.end_reason is None
        assert (self.wire.waiting, self.wire.behind) == (0, False)
        found, rest = frames(received)
        assert rest == b""
        return found

    def said(self) -> list[tuple[str, Any, tuple[str, ...] | None]]:
        """Sender, data and addressees of each message that got a place."""
        entries = self.server.node.log.history.entries()
        told = [(read(entry.batch.payloads[0]), entry.to) for entry in entries]
        return [(frame["from"], frame["data"], to) for frame, to in told]

    def dispose(self) -> None:
        for server in self.servers:
            server.dispose()


def _speech(pieces: list[tuple[str, list[str]]], deflate: bool) -> bytes:
    """What a client sends: pings, and texts in as many frames as they have parts, pings between these."""
    extension = PerMessageDeflate(True, True, 15, 15)
    extensions = [extension] if deflate else []
    wire = b""
    for kind, parts in pieces:
        if kind == "ping":
            wire += client(PING, parts[0].encode()[:125])
            continue
        for n, part in enumerate(parts):
            opcode, fin = Opcode.TEXT if n == 0 else Opcode.CONT, n == len(parts) - 1
            wire += Frame(opcode, part.encode(), fin).serialize(mask=True, extensions=extensions)
            wire += client(PING, b"between") if not fin else b""
    return wire


def _pings(pieces: list[tuple[str, list[str]]]) -> list[bytes]:
    found = []
    for kind, parts in pieces:
        found += [parts[0].encode()[:125]] if kind == "ping" else [b"between"] * (len(parts) - 1)
    return found


def _check(journey: Journey, pieces: list[tuple[str, list[str]]]) -> None:
    """Every message in order and once, every ping answered, every text taken in, and nothing else."""
    found = journey.end()
    said = journey.said()
    assert [data for sender, data, _ in said if sender == "bob"] == [
        "".join(parts) for kind, parts in pieces if kind == "text"
    ]
    assert data_of(found) == [data for _, data, to in said if to is None or "bob" in to]
    assert [bytes(f.data) for f in found if f.opcode is Opcode.PONG] == _pings(pieces)
    assert {f.opcode for f in found} <= {Opcode.TEXT, Opcode.PONG}
    assert len(said) - sum(sender == "bob" for sender, _, _ in said) == journey.published


PIECES = st.lists(
    st.tuples(
        st.just("text"), st.lists(st.sampled_from(["", "a", "é" * 70, "b" * 300]), min_size=1, max_size=3)
    )
    | st.tuples(st.just("ping"), st.lists(st.sampled_from(["", "?", "!" * 125]), min_size=1, max_size=1)),
    max_size=6,
)
STEPS = st.lists(
    st.tuples(st.sampled_from(["broadcast", "direct", "for others"]), st.sampled_from([0, 50, 3000, 9000]))
    | st.tuples(st.just("hear"), st.integers(1, 400))
    | st.tuples(st.sampled_from(["room", "read"]), st.integers(0, 300) | st.just(5000))
    | st.tuples(st.sampled_from(["turn", "writable"]), st.just(0))
    | st.tuples(st.just("move"), st.integers(0, 2)),
    max_size=30,
)


async def _travel(pieces: list[tuple[str, list[str]]], steps: list[tuple[str, int]], deflate: bool) -> None:
    journey = Journey(deflate)
    unheard = _speech(pieces, deflate)
    try:
        for what, value in steps:
            if what == "hear" and unheard:
                journey.hear(unheard[:value])
                unheard = unheard[value:]
            else:
                await _step(journey, what, value)
        await turn()
        if unheard:
            journey.hear(unheard)
        await turn()
        _check(journey, pieces)
    finally:
        journey.dispose()


async def _step(journey: Journey, what: str, value: int) -> None:
    to = {"broadcast": None, "direct": ("bob",), "for others": ("eve",)}
    if what in to:
        journey.publish(value, to[what])
    elif what == "move":
        journey.move(meanwhile=value, room=journey.transport.room)
    elif what == "room":
        journey.transport.room = value
    elif what == "read":
        journey.transport.read(value)
    elif what == "writable":
        journey.transport.writable()
    elif what == "turn":
        await turn()


@examples(250)
@example([("text", ["a", "é" * 70])], [("hear", 8), ("room", 3), ("direct", 50), ("move", 2)], True)
@example(
    [], [("room", 0), ("direct", 9000), ("broadcast", 9000), ("turn", 0), ("move", 1), ("move", 0)], False
)
@given(PIECES, STEPS, st.booleans())
def test_wherever_it_is_cut_both_streams_go_on_as_if_nothing_had_been(
    pieces: list[tuple[str, list[str]]], steps: list[tuple[str, int]], deflate: bool
) -> None:
    asyncio.run(_travel(pieces, steps, deflate))


@pytest.mark.parametrize("deflate", [False, True])
async def test_a_move_after_each_byte_that_the_client_has_sent(deflate: bool) -> None:
    pieces = [("ping", ["?"]), ("text", ["he", "", "llo"]), ("text", ["é" * 70]), ("ping", [""])]
    speech = _speech(pieces, deflate)
    for cut in range(len(speech) + 1):
        journey = Journey(deflate)
        if cut:
            journey.hear(speech[:cut])
        journey.move()
        if cut < len(speech):
            journey.hear(speech[cut:])
        await turn()
        _check(journey, pieces)
        journey.dispose()


@pytest.mark.parametrize("deflate", [False, True])
async def test_a_move_after_each_byte_that_the_socket_took(deflate: bool) -> None:
    """From none to all of them."""
    behind, room = True, 0
    while behind:
        journey = Journey(deflate, room=room)
        journey.publish(50, ("bob",))
        journey.hear(client(PING, b"?"))
        journey.publish(300, ("bob",))
        behind = journey.wire.behind
        journey.move(meanwhile=1)
        await turn()
        _check(journey, [("ping", ["?"])])
        journey.dispose()
        room += 1
    assert room > 500


@pytest.mark.parametrize("deflate", [False, True])
async def test_what_waits_moves_with_it_as_it_would_be_sent_and_is_still_counted(deflate: bool) -> None:
    journey = Journey(deflate, room=len(ANSWER) + 10)
    for n in range(5):
        journey.publish(3000, ("bob",) if n % 2 else None)
    await turn()
    journey.hear(client(PING, b"?"))
    waiting, undelivered = journey.wire.waiting, journey.wire.undelivered
    assert undelivered == 5
    snapshot = journey.move(room=0)
    assert sum(messages for _, messages in snapshot.unsent) == undelivered
    assert (journey.wire.waiting, journey.wire.behind) == (waiting, True)
    _check(journey, [("ping", ["?"])])
    journey.dispose()


# Who can, and who cannot


async def test_under_tls_it_cannot_move(make_server: MakeServer) -> None:
    wire, _ = make_server().join("bob", tls=True)
    assert not wire.can_move


async def test_at_rest_and_behind_it_can_move(make_server: MakeServer) -> None:
    server = make_server()
    wire, transport = server.join("bob")
    assert wire.can_move
    server.publish("." * 50_000)
    await turn()
    assert wire.behind
    assert wire.can_move
    transport.drain()
    assert wire.can_move


async def test_for_whom_too_much_waits_cannot_move_until_it_has_read(make_server: MakeServer) -> None:
    server = make_server(max_queue=0)
    wire, transport = server.join("bob", room=0)
    while wire.waiting <= MAX_UNSENT_TO_MOVE:
        assert wire.can_move
        server.publish("." * 500_000)
        await turn()
    assert not wire.can_move
    transport.room = None
    transport.drain()
    assert wire.can_move


async def test_bytes_from_before_the_connection_cannot_move(make_server: MakeServer) -> None:
    server = make_server()
    made = HandTransport(room=0)
    server.transports.append(made)
    made.set_protocol(asyncio.Protocol())
    made.write(b"the answer to an earlier request")
    wire = Wire(server.node, made, "bob", "192.0.2.1:5")
    wire.begin(ANSWER, None, b"")
    assert not wire.can_move
    made.room = 10
    made.writable()
    assert not wire.can_move
    made.room = None
    made.drain()
    assert wire.can_move


@pytest.mark.parametrize("how", ["we close", "peer closes", "violation", "eof", "abort", "binary"])
async def test_who_is_closing_cannot_move(make_server: MakeServer, how: str) -> None:
    wire, transport = make_server().join("bob")
    match how:
        case "we close":
            wire.close(1012, "restart", EndReason.FORCED)
        case "peer closes":
            transport.protocol.data_received(closing())
        case "violation":
            transport.protocol.data_received(b"\xff\xff")
        case "eof":
            transport.protocol.eof_received()
        case "abort":
            transport.abort()
        case "binary":
            transport.protocol.data_received(client(2))
    assert not wire.can_move


# Departing and arriving


async def test_who_is_detached_is_handed_over_and_reads_no_more(make_server: MakeServer) -> None:
    server = make_server()
    wire, transport = server.join("bob")
    os.close(wire.detach().fd)
    assert not transport.reading
    assert not wire.can_move
    assert server.node.manager.active_connections == {}
    assert server.node.manager.tally[EndReason.HANDED_OVER] == 1
    server.publish("not for us any more")
    server.publish("nor this", ("bob",))
    wire.offer(Batch((b"nor this",)))
    wire.close(1012, "restart", EndReason.FORCED)
    server.later(60)
    await turn()
    assert data_of(frames(transport.drain())[0]) == []


async def test_its_age_and_address_go_with_it(make_server: MakeServer) -> None:
    old, new = make_server(ping_interval=0.0), make_server()
    wire, transport = old.join("bob")
    old.later(90)
    snapshot = _snapshot(wire, transport)
    new.now = 5000.0
    made = HandTransport(over=transport)
    arrived = _arrived(new, made, snapshot)
    assert (arrived.client_id, arrived.address, arrived.opened) == ("bob", "192.0.2.1:5", 4910.0)


async def test_fragments_from_before_count_towards_the_limit() -> None:
    journey = Journey()
    journey.hear(Frame(Opcode.TEXT, bytes(40_000), fin=False).serialize(mask=True))
    journey.move()
    journey.hear(Frame(Opcode.CONT, bytes(40_000)).serialize(mask=True))
    assert journey.wire.code == 1009
    journey.dispose()


async def test_what_it_takes_with_it_is_not_held_against_its_queue(make_server: MakeServer) -> None:
    old, new = make_server(max_queue=0), make_server(max_queue=50_000)
    wire, transport = old.join("bob", room=0)
    for _ in range(10):
        old.publish("." * 20_000)
    await turn()
    snapshot = _snapshot(wire, transport)
    made = HandTransport(over=transport, room=0)
    arrived = _arrived(new, made, snapshot)
    new.publish("." * 20_000)
    await turn()
    assert arrived.end_reason is None
    assert arrived.waiting > 220_000
    made.room = None
    assert len(data_of(frames(made.drain())[0])) == 11


def _arrived(server: Server, transport: HandTransport, snapshot: ConnectionSnapshot) -> Wire:
    server.transports.append(transport)
    wire = Wire(server.node, transport, snapshot.client_id, snapshot.address, snapshot.encoding)
    transport.set_protocol(wire)
    wire.restore(snapshot, ())
    return wire


@pytest.mark.parametrize("room", [0, 1, 40, 300, 1 << 20])
async def test_where_a_newer_connection_is_already_it_ends_with_4501_between_frames(
    make_server: MakeServer, room: int
) -> None:
    old, new = make_server(), make_server()
    wire, transport = old.join("bob", room=len(ANSWER) + room)
    old.publish("." * 200, ("bob",))
    old.publish("." * 200, ("bob",))
    snapshot = _snapshot(wire, transport)
    newer, newer_transport = new.join("bob")
    made = HandTransport(over=transport)
    arrived = _arrived(new, made, snapshot)
    assert (arrived.code, arrived.end_reason) == (4501, EndReason.EVICTED)
    new.publish("for the newer one")
    await turn()
    found, rest = frames(made.drain())
    assert close_of(found)[0] == 4501
    assert rest == b""
    assert new.node.manager.clients == {"bob": newer}
    assert data_of(frames(newer_transport.drain())[0]) == ["for the newer one"]


@pytest.mark.parametrize("anyio_backend", [("asyncio", {"use_uvloop": True})])
async def test_whoever_is_gone_says_nothing_and_what_is_left_of_it_is_written_elsewhere(
    make_server: MakeServer, caplog: pytest.LogCaptureFixture, anyio_backend: object
) -> None:
    """On the loop's own transport and a real socket, in which a message is stuck."""
    old, new, loop = make_server(), make_server(max_queue=0), asyncio.get_running_loop()
    ours, peer = socket.socketpair()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    other = ours.dup()
    transport, _ = await loop.connect_accepted_socket(asyncio.Protocol, ours)
    wire = Wire(old.node, transport, "bob", "192.0.2.1:5")
    wire.begin(ANSWER, None, b"")
    old.publish("." * 100_000, ("bob",))
    assert wire.behind
    assert wire.can_move
    with caplog.at_level(logging.INFO, "wsctl.hub"):
        detached = wire.detach()
        await detached.ended
    snapshot = detached.snapshot
    os.close(detached.fd)
    assert (transport.is_closing(), caplog.records) == (True, [])
    assert old.node.manager.active_connections == {}
    assert not old.node.manager.closing
    received = bytearray(peer.recv(1 << 20, socket.MSG_DONTWAIT))
    with pytest.raises(BlockingIOError):
        peer.recv(1, socket.MSG_DONTWAIT)
    arrived = _Arrival(new, snapshot)
    moved, _ = await loop.connect_accepted_socket(lambda: arrived, other)
    new.publish("last", ("bob",))
    new.node.manager.close_all(1012, "restart")
    peer.setblocking(False)
    async with asyncio.timeout(DEADLINE):
        while b"restart" not in received:
            received += await loop.sock_recv(peer, 1 << 20)
    found, rest = frames(bytes(received))
    assert [len(data) for data in data_of(found)] == [100_000, 4]
    assert close_of(found) == (1012, "restart")
    assert rest == b""
    moved.abort()
    peer.close()


class _Arrival(asyncio.Protocol):
    """Becomes the wire as soon as there is a transport."""

    def __init__(self, server: Server, snapshot: ConnectionSnapshot) -> None:
        self.server, self.snapshot = server, snapshot

    def connection_made(self, transport: Any) -> None:
        wire = Wire(self.server.node, transport, "bob", self.snapshot.address)
        transport.set_protocol(wire)
        wire.restore(self.snapshot, ())


async def test_it_takes_the_end_of_its_credentials_along() -> None:
    journey = Journey()
    old = journey.server.node
    old.expiry.set(journey.wire, 4e9)
    snapshot = journey.move()
    assert snapshot.expires == 4e9
    assert journey.server.node.expiry.of(journey.wire) == 4e9
    old.expiry.close_expired(0.0)
    assert len(old.expiry) == 0
    journey.server.node.expiry.set(journey.wire, 1.0)
    journey.server.node.expiry.close_expired(0.0)
    assert (journey.wire.code, journey.wire.end_reason) == (4403, EndReason.EVICTED)
    journey.dispose()


async def test_without_an_end_it_takes_none() -> None:
    journey = Journey()
    assert journey.move().expires is None
    assert len(journey.server.node.expiry) == 0
    journey.dispose()


async def test_a_sign_of_life_is_owed_in_the_next_process_too() -> None:
    journey = Journey()
    try:
        journey.wire.keepalive = 10
        journey.server.later(9)
        assert journey.move().keepalive == 10
        journey.server.later(1)  # when the last thing was sent it does not know
        journey.server.later(10)
        kinds = [read(bytes(frame.data))["type"] for frame in journey.end()]
        assert kinds == ["welcome", "keepalive", "keepalive"]
    finally:
        journey.dispose()
