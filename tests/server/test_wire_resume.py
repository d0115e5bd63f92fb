"""A connection that resumes: what it missed, and how that leaves."""

import asyncio

import pytest
from websockets.frames import Frame, Opcode

from tests.support.frames import read
from tests.support.transport import HandTransport
from tests.support.wires import ANSWER, MakeServer, Server, close_of, data_of, frames, turn
from wsctl.frame import TEXT, frame
from wsctl.hub.outbox import CHUNK
from wsctl.server.wire import Wire

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
    assert wire.ending is None
    assert wire.waiting > 300_000
    assert len(data_of(frames(transport.drain())[0])) == 345


async def test_beside_what_was_missed_the_queue_has_its_limit(make_server: MakeServer) -> None:
    server = make_server(max_queue=50_000)
    wire, _ = await _coming_back(server, 300_000)
    live = 0
    while wire.ending is None:
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
    while wire.ending is None:
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
    while wire.ending is None and published < 200:
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
    wire = Wire(server.node, made, "bob", "192.0.2.1:5")
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
    wire = Wire(server.node, made, "bob", "192.0.2.1:5")
    wire.begin(b"", seen, b"")
    assert wire.code == 1013
    made.room = None
    found, rest = frames(made.drain())
    assert close_of(found)[0] == 1013
    assert rest == b""
