"""A connection that resumes: what it missed, and how that leaves."""

import asyncio
import fcntl
import random
import sys
import termios
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode

from tests.support.entries import missed_by
from tests.support.frames import read
from tests.support.sizes import examples
from tests.support.transport import HandTransport
from tests.support.wires import ANSWER, MakeServer, Server, close_of, data_of, frames, turn
from wsctl.frame import TEXT, Encoding, frame
from wsctl.hub.outbox import CHUNK
from wsctl.server.websocket.snapshot import ConnectionSnapshot
from wsctl.server.websocket.wire import Wire

pytestmark = pytest.mark.anyio


def _recovered(found: list[Frame]) -> object:
    return read(bytes(found[0].data))["recovered"]


@pytest.mark.parametrize("deflate", [False, True])
async def test_who_comes_back_gets_the_welcome_what_it_missed_and_then_the_rest(
    make_server: MakeServer, deflate: bool
) -> None:
    server = make_server()
    seen = server.node.log.newest
    for n in range(100):
        server.publish(f"{n}:" + "." * 3000, ("eve",) if n % 10 == 9 else None)
    _, transport = server.join("bob", since=seen, deflate=deflate)
    server.publish("100:", ("bob",))
    server.publish("101:")
    await turn()
    found, rest = frames(transport.drain())
    assert [int(data.split(":")[0]) for data in data_of(found)] == [n for n in range(102) if n % 10 != 9]
    assert rest == b""
    assert _recovered(found) is True


@pytest.mark.parametrize("since", ["1-1", "nonsense"])
async def test_after_an_id_that_was_never_given_nothing_is_recovered(
    make_server: MakeServer, since: str
) -> None:
    server = make_server()
    server.publish("missed")
    _, transport = server.join("bob", since=since)
    server.publish("live")
    await turn()
    found, _ = frames(transport.drain())
    assert data_of(found) == ["live"]
    assert _recovered(found) is False


async def test_what_was_missed_leaves_in_chunks_however_little_the_socket_takes(
    make_server: MakeServer,
) -> None:
    server = make_server()
    seen = server.node.log.newest
    for n in range(400):
        server.publish(f"{n}:" + "." * 1000)
    await turn()
    wire, transport = server.join("bob", since=seen)
    sent = len(transport.received)
    while wire.waiting:
        assert transport.get_write_buffer_size() <= CHUNK
        assert wire.undelivered or not wire.waiting > CHUNK
        transport.read(5000)
        transport.writable()
        assert len(transport.received) > sent, "it makes progress"
        sent = len(transport.received)
    found, _ = frames(transport.drain())
    assert [int(data.split(":")[0]) for data in data_of(found)] == list(range(400))
    chunks = [size for size in transport.writes if size > 2000]
    assert len(chunks) == 7
    assert all(size <= CHUNK for size in chunks)


async def _coming_back(server: Server, missed: int) -> tuple[Wire, HandTransport]:
    """A connection for which so many bytes of missed messages wait."""
    seen = server.node.log.newest
    for _ in range(missed // 1000):
        server.publish("." * 950)
    await turn()
    return server.join("bob", since=seen)


async def test_what_was_missed_is_not_held_against_the_queue(make_server: MakeServer) -> None:
    server = make_server(max_queue=50_000)
    wire, transport = await _coming_back(server, 300_000)
    for _ in range(45):
        server.publish("." * 950)
        await turn()
    assert wire.end_reason is None
    assert wire.waiting > 300_000
    assert len(data_of(frames(transport.drain())[0])) == 345


async def test_beside_what_was_missed_the_queue_has_its_limit(make_server: MakeServer) -> None:
    server = make_server(max_queue=50_000)
    wire, _ = await _coming_back(server, 300_000)
    live = 0
    while wire.end_reason is None:
        server.publish("." * 950)
        live += 1000
        await turn()
    # The kernel has taken the first of what was missed.
    assert 45_000 < live < 75_000
    assert wire.code == 1013


async def test_once_caught_up_the_queue_has_its_limit_again(make_server: MakeServer) -> None:
    server = make_server(max_queue=50_000)
    wire, transport = await _coming_back(server, 300_000)
    transport.drain()
    assert wire.waiting == 0
    while wire.end_reason is None:
        assert wire.waiting <= 50_000
        server.publish("." * 950)
        await turn()
    assert wire.code == 1013


async def test_when_what_was_missed_is_written_the_rest_has_the_limit_alone(make_server: MakeServer) -> None:
    server = make_server(max_queue=50_000)
    wire, transport = await _coming_back(server, 300_000)
    missed = wire.waiting
    for _ in range(45):
        server.publish("." * 950)
        await turn()
    assert wire.waiting > missed + 40_000
    while wire.waiting > 40_000:
        transport.read(2000)
        transport.writable()
    published = 0
    while wire.end_reason is None and published < 200:
        server.publish("." * 950)
        published += 1
        await turn()
    assert wire.code == 1013
    assert published < 30


@pytest.mark.parametrize("since", [False, True])
async def test_what_this_turn_has_gathered_does_not_overtake_the_welcome(
    make_server: MakeServer, since: bool
) -> None:
    """Not even on a transport that is behind from the start."""
    server = make_server()
    seen = server.node.log.newest
    made = HandTransport(room=len(ANSWER))
    server.transports.append(made)
    made.set_protocol(asyncio.Protocol())
    made.set_write_buffer_limits(0, 0)
    made.write(ANSWER + b"\x81\x00")
    server.publish("gathered")
    wire = Wire(server.services, made, "bob", "192.0.2.1:5")
    wire.begin(b"", seen if since else None, b"")
    server.publish("after")
    await turn()
    made.room = None
    found, rest = frames(made.drain())
    assert found[0] == Frame(Opcode.TEXT, b"")
    assert data_of(found[1:]) == (["gathered", "after"] if since else ["after"])
    assert rest == b""


async def test_who_is_cut_at_its_welcome_gets_nothing_after_the_close_frame(make_server: MakeServer) -> None:
    server = make_server(max_queue=1000)
    seen = server.node.log.newest
    server.publish("missed")
    made = HandTransport(room=0)
    server.transports.append(made)
    made.set_protocol(asyncio.Protocol())
    made.set_write_buffer_limits(0, 0)
    made.write(ANSWER + frame(TEXT, bytes(2000)))
    wire = Wire(server.services, made, "bob", "192.0.2.1:5")
    wire.begin(b"", seen, b"")
    assert wire.code == 1013
    made.room = None
    found, rest = frames(made.drain())
    assert close_of(found)[0] == 1013
    assert rest == b""


# The queue of a client that is sent what it missed


class Resumption:
    """A client that is sent what it missed, by a server that it came back to or that took it over.

    Another client is there from the same moment on, under a name of the same length: what it is sent is what
    is live for this one.
    """

    def __init__(self, missed: int, *, moved: bool, deflate: bool, **socket: Any) -> None:
        self.server = Server(max_queue=0, history=1000)
        self._published = 0
        seen = self.server.node.log.newest
        for size in range(missed):
            self.publish(1000 + size, ("eve",) if size % 7 == 6 else None)
        self.server.node.manager.flush()
        if moved:
            self.wire, self.transport = self._move(seen, deflate, **socket)
        else:
            self.wire, self.transport = self.server.join("bob", since=seen, deflate=deflate, **socket)
        self._moved = moved
        _, self._other = self.server.join("tim", deflate=deflate, buffer=1 << 20)
        self._before = len(self._other.drain())
        self.seen: list[tuple[int, int, int]] = []

    @property
    def live(self) -> int:
        """The bytes of live messages up to now."""
        return len(self._other.drain()) - self._before

    @property
    def taken(self) -> int:
        """The bytes that the client's socket has taken."""
        unread = fcntl.ioctl(self.transport.peer, termios.FIONREAD, bytes(4))
        return len(self.transport.received) + int.from_bytes(unread, sys.byteorder)

    def publish(self, size: int, to: tuple[str, ...] | None = None) -> None:
        # Digits that hardly compress, so that there is something to wait for with deflate too.
        self._published += 1
        digits = random.Random(self._published).getrandbits(4 * size)
        self.server.publish(f"{digits:x}", to)

    def look(self) -> None:
        """Check what holds at any time, and note what can be checked in the end."""
        wire, kept = self.wire, bytes(self.transport._buffer)
        assert wire.end_reason is None
        assert wire._handed.endswith(kept)
        if not wire.behind:
            assert (wire._handed, wire._granted, wire._missed, wire.waiting) == (b"", 0, None, 0)
        self.seen.append((self.live, self.taken, wire.waiting - wire._replayed))

    def check(self) -> None:
        """Check that what was held against the queue were the live bytes that waited; in front of what was
        missed, also the answer and the welcome, which nobody has missed."""
        self.transport.room = None
        received = self.transport.drain()
        head = 0 if self._moved else len(ANSWER) + _size_of_frame(received[len(ANSWER) :])
        begin = len(received) - self.live
        for live, taken, held in self.seen:
            waiting = live - max(0, taken - begin)
            assert waiting <= held <= waiting + max(0, head - taken)

    def _move(self, seen: str, deflate: bool, **socket: Any) -> tuple[Wire, HandTransport]:
        transport = HandTransport(**socket)
        self.server.transports.append(transport)
        wire = Wire(self.server.services, transport, "bob", "192.0.2.1:5", Encoding(deflate))
        transport.set_protocol(wire)
        unsent = (bytes(3000), 0), (frame(TEXT, bytes(5000)), 1)
        missed = missed_by(self.server.node.log, seen, "bob")
        assert missed is not None
        wire.restore(ConnectionSnapshot("bob", "", 0.0, Encoding(deflate), seen, None, unsent), list(missed))
        return wire, transport


def _size_of_frame(data: bytes) -> int:
    short = data[1]
    return 2 + short if short < 126 else 4 + int.from_bytes(data[2:4])


STEPS = st.lists(
    st.tuples(st.sampled_from(["broadcast", "direct"]), st.sampled_from([1, 50, 3000, 90_000]))
    | st.tuples(st.just("read"), st.sampled_from([100, 5000, 100_000]))
    | st.tuples(st.just("room"), st.none() | st.sampled_from([0, 1, 200, 70_000])),
    max_size=30,
)

STEADILY: list[tuple[str, int | None]] = [
    ("broadcast", 3000),
    ("room", None),
    ("read", 100_000),
    ("room", None),
] * 3
SOCKETS = st.fixed_dictionaries(
    {"buffer": st.sampled_from([4096, 1 << 20]), "room": st.none() | st.sampled_from([0, 100, 9000, 70_000])}
)


async def _resume(resumption: Resumption, steps: list[tuple[str, int | None]]) -> None:
    resumption.look()
    for what, value in steps:
        if what == "read":
            resumption.transport.read(value or 0)
        elif what == "room":
            resumption.transport.room = value
            resumption.transport.writable()
        else:
            resumption.publish(value or 0, ("bob", "tim") if what == "direct" else None)
        await turn()
        resumption.look()
    resumption.check()


@examples(250)
@example(STEADILY, 80, False, False, {"buffer": 4096, "room": 0})
@example(STEADILY, 80, True, False, {"buffer": 4096, "room": 0})
@example(STEADILY, 150, True, False, {"buffer": 1 << 20, "room": 70_000})
@given(STEPS, st.integers(0, 150), st.booleans(), st.booleans(), SOCKETS)
def test_live_messages_alone_are_held_against_the_queue(
    steps: list[tuple[str, int | None]], missed: int, moved: bool, deflate: bool, socket: dict[str, Any]
) -> None:
    async def run() -> None:
        resumption = Resumption(missed, moved=moved, deflate=deflate, **socket)
        try:
            await _resume(resumption, steps)
        finally:
            resumption.server.dispose()

    asyncio.run(run())
