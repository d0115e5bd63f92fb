"""A connection on a socket that takes little, peers that read slowly, and the end of all of them."""

import asyncio
import random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode

from tests.support.frames import read
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
from wsctl.codes import CLOSE_TIMEOUT
from wsctl.frame import PING, PONG, TEXT, frame
from wsctl.hub.bucket import PATIENCE
from wsctl.hub.connection import STALL_TIMEOUT, EndReason
from wsctl.hub.intake import CONTROL_RATE
from wsctl.server.websocket.wire import LINGER, Wire
from wsctl.settings import Rate

pytestmark = pytest.mark.anyio


async def test_the_answer_then_the_welcome_then_messages(make_server: MakeServer) -> None:
    server = make_server()
    wire, transport = server.join("bob")
    server.publish("one")
    server.publish("two", ("bob",))
    await turn()
    found, rest = frames(transport.drain())
    assert (data_of(found), rest) == (["one", "two"], b"")
    assert not wire.behind
    assert wire.waiting == wire.undelivered == 0


async def test_what_came_with_the_handshake_is_read(make_server: MakeServer) -> None:
    server = make_server()
    eager = client(TEXT, b"eager")
    _, transport = server.join("bob", early=eager[:-2])
    transport.protocol.data_received(eager[-2:])
    await turn()
    _, other = server.join("eve", early=client(PING, b"?"))
    assert frames(other.drain())[0][1:] == [Frame(Opcode.PONG, b"?")]
    assert data_of(frames(transport.drain())[0]) == ["eager"]


async def test_whoever_falls_behind_gets_everything_in_order_and_holds_up_nobody(
    make_server: MakeServer,
) -> None:
    server = make_server()
    slow, slow_socket = server.join("slow")
    _, quick_socket = server.join("quick", buffer=1 << 20)
    for n in range(200):
        server.publish(f"{n}:" + "." * 2000, None if n % 3 else ("slow", "quick"))
        await turn()
    assert slow.behind
    assert slow.waiting > 300_000
    assert slow.undelivered > 150
    wanted = [str(n) for n in range(200)]
    for transport in (quick_socket, slow_socket):
        found, rest = frames(transport.drain())
        assert [data.split(":")[0] for data in data_of(found)] == wanted
        assert rest == b""
    assert not slow.behind
    assert slow.waiting == slow.undelivered == 0
    server.publish("after")
    await turn()
    assert data_of(frames(slow_socket.drain())[0])[-1] == "after"


@pytest.mark.parametrize("tls", [False, True])
async def test_a_full_queue_is_cut_with_1013_and_what_waited_is_dropped(
    make_server: MakeServer, tls: bool
) -> None:
    server = make_server(max_queue=50_000)
    wire, transport = server.join("slow", tls=tls)
    published = 0
    while wire.end_reason is None:
        server.publish(f"{published}:" + "." * 1000)
        published += 1
        await turn()
        assert wire.waiting <= 52_000
        assert published < 5000
    assert wire.waiting < 20_000
    assert wire.undelivered == 0
    assert "slow" not in server.node.manager.clients
    found, rest = frames(transport.drain())
    got = [int(data.split(":")[0]) for data in data_of(found)]
    assert got == list(range(len(got)))
    assert len(got) < published - 30
    assert close_of(found) == (1013, "too slow: more than 50000 bytes waited for this client")
    assert rest == b""
    assert wire.end_reason is EndReason.EVICTED


async def test_without_a_limit_the_queue_grows(make_server: MakeServer) -> None:
    server = make_server(max_queue=0)
    wire, transport = server.join("slow")
    server.publish("." * 3_000_000)
    await turn()
    assert wire.end_reason is None
    assert wire.waiting > 2_900_000
    assert len(data_of(frames(transport.drain())[0])[0]) == 3_000_000


async def _behind(server: Server) -> tuple[Wire, HandTransport]:
    """A connection that is behind, with messages in its outbox."""
    wire, transport = server.join("slow")
    for n in range(40):
        server.publish(f"{n}:" + "." * 3000)
        await turn()
    assert wire.behind
    assert wire.undelivered
    return wire, transport


async def test_ten_seconds_without_progress_cut_with_1013_and_then_abort(make_server: MakeServer) -> None:
    server = make_server()
    wire, transport = await _behind(server)
    server.later(STALL_TIMEOUT - 1)
    assert wire.end_reason is None
    server.later(2)
    assert (wire.code, wire.end_reason) == (1013, EndReason.EVICTED)
    assert wire.reason == "too slow: nothing was read for 10 seconds"
    assert not transport.aborted
    server.later(CLOSE_TIMEOUT + 1)
    assert transport.aborted
    await turn()
    assert not server.node.manager.closing
    found, _ = frames(transport.drain())
    assert all(f.opcode is Opcode.TEXT for f in found)


async def test_a_peer_that_reads_slowly_but_reads_is_never_cut(make_server: MakeServer) -> None:
    server = make_server(ping_interval=2.0, ping_timeout=3.0)
    wire, transport = await _behind(server)
    for _ in range(12):
        server.later(STALL_TIMEOUT / 5)
        transport.read(2500)
        transport.writable()
    assert wire.end_reason is None
    assert len(data_of(frames(transport.drain())[0])) == 40


async def test_the_quiet_are_pinged_and_the_dead_are_cut(make_server: MakeServer) -> None:
    server = make_server(ping_interval=20.0, ping_timeout=15.0)
    wire, transport = server.join("bob")
    server.later(19)
    assert frames(transport.drain())[0][1:] == []
    server.later(1)
    assert frames(transport.drain())[0][1:] == [Frame(Opcode.PING, b"")]
    server.later(14)
    assert wire.end_reason is None
    transport.protocol.data_received(client(PONG))
    server.later(20)
    assert [f.opcode for f in frames(transport.drain())[0][1:]] == [Opcode.PING, Opcode.PING]
    server.later(15)
    assert (wire.code, wire.reason) == (1006, "no answer to a ping")
    assert transport.aborted
    await turn()
    assert not server.node.manager.closing
    assert not server.node.manager.active_connections


async def test_who_only_answers_pings_keeps_the_whole_rate_for_messages(make_server: MakeServer) -> None:
    server = make_server(ping_interval=1.0, rate=Rate(0.001, 1))
    wire, transport = server.join("bob", buffer=1 << 20)
    for _ in range(500):
        server.later(1)
        transport.protocol.data_received(client(PONG))
    transport.protocol.data_received(client(TEXT, b"the first of its life"))
    await turn()
    assert wire.end_reason is None
    assert data_of(frames(transport.drain())[0]) == ["the first of its life"]


async def test_pongs_that_nobody_asked_for_are_bounded(make_server: MakeServer) -> None:
    server = make_server(ping_interval=1.0, rate=Rate(20, 40))
    wire, transport = server.join("bob", buffer=1 << 20)
    server.later(1)
    flood = CONTROL_RATE.burst * (1 + PATIENCE)
    transport.protocol.data_received(client(PONG) * (1 + flood))
    assert wire.end_reason is None
    transport.protocol.data_received(client(PONG))
    assert (wire.end_reason, wire.code) == (EndReason.EVICTED, 1008)


@pytest.mark.parametrize("options", [{"ping_interval": 0.0}, {"ping_timeout": 0.0}])
async def test_keepalive_can_be_turned_off(make_server: MakeServer, options: dict[str, float]) -> None:
    server = make_server(**options)
    wire, _ = server.join("bob")
    server.later(300)
    assert wire.end_reason is None


async def test_a_ping_is_answered_with_its_payload_between_messages(make_server: MakeServer) -> None:
    server = make_server()
    _, transport = server.join("bob")
    transport.protocol.data_received(client(PING, b"abc") + client(PING, b""))
    assert frames(transport.drain())[0][1:] == [Frame(Opcode.PONG, b"abc"), Frame(Opcode.PONG, b"")]


async def test_the_peer_s_close_is_answered_with_its_code_and_nothing_after_it_is_read(
    make_server: MakeServer,
) -> None:
    server = make_server()
    wire, transport = server.join("bob")
    transport.protocol.data_received(closing(3000, "bye") + client(TEXT, b"late"))
    transport.protocol.data_received(client(TEXT, b"later"))
    await turn()
    assert (wire.code, wire.reason, wire.end_reason) == (3000, "bye", EndReason.LEFT)
    assert close_of(frames(transport.drain())[0]) == (3000, "")
    assert transport.is_closing()
    assert server.node.intake.received == 0
    assert not server.node.manager.closing


async def test_whoever_closes_while_behind_gets_whole_frames_and_then_the_answer(
    make_server: MakeServer,
) -> None:
    server = make_server()
    wire, transport = await _behind(server)
    transport.protocol.data_received(closing())
    assert wire.end_reason is EndReason.LEFT
    assert wire.undelivered == 0
    found, rest = frames(transport.drain())
    assert close_of(found) == (1000, "")
    assert rest == b""
    got = [int(data.split(":")[0]) for data in data_of(found)]
    assert got == list(range(len(got)))


async def test_our_close_comes_after_what_waits_and_is_sent_once(make_server: MakeServer) -> None:
    server = make_server()
    wire, transport = await _behind(server)
    wire.close(1012, "restart", EndReason.FORCED)
    wire.close(1008, "again", EndReason.EVICTED)
    server.publish("too late")
    await turn()
    found, rest = frames(transport.drain())
    assert len(data_of(found)) == 40
    assert close_of(found) == (1012, "restart")
    assert rest == b""
    transport.protocol.data_received(closing(1012))
    await turn()
    assert transport.drain() == bytes(transport.received)
    assert wire.end_reason is EndReason.FORCED
    assert not server.node.manager.closing


async def test_who_does_not_answer_our_close_is_aborted(make_server: MakeServer) -> None:
    server = make_server()
    wire, transport = server.join("bob")
    wire.close(1012, "restart", EndReason.FORCED)
    transport.protocol.data_received(client(TEXT, b"ignored") + client(PING, b"ignored"))
    server.later(CLOSE_TIMEOUT - 1)
    assert not transport.aborted
    server.later(1)
    assert transport.aborted
    assert server.node.intake.received == 0
    assert len(frames(transport.drain())[0]) == 2


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        (frame(TEXT, b"unmasked"), 1002),
        (client(TEXT, b"\xff"), 1007),
        (client(TEXT, b"x" * 65537), 1009),
        (client(2, b"binary"), 1003),
        (closing(1005), 1002),
    ],
    ids=["unmasked", "not UTF-8", "too big", "binary", "no close code"],
)
async def test_what_breaks_a_rule_is_closed_with_its_code_and_heard_no_more(
    make_server: MakeServer, wrong: bytes, code: int
) -> None:
    server = make_server()
    wire, transport = server.join("bob")
    transport.protocol.data_received(client(TEXT, b"fine") + wrong + client(TEXT, b"unheard"))
    transport.protocol.data_received(client(TEXT, b"unheard"))
    assert (wire.code, wire.end_reason) == (code, EndReason.EVICTED)
    assert server.node.intake.received == 1
    found, rest = frames(transport.drain())
    assert close_of(found)[0] == code
    assert close_of(found)[1]
    assert rest == b""
    server.later(LINGER if code != 1003 else CLOSE_TIMEOUT)
    assert transport.aborted


async def test_a_violation_while_behind_does_not_cut_a_frame_in_two(make_server: MakeServer) -> None:
    server = make_server()
    _, transport = await _behind(server)
    transport.protocol.data_received(frame(TEXT, b"unmasked"))
    found, rest = frames(transport.drain())
    assert close_of(found)[0] == 1002
    assert rest == b""


async def test_a_peer_that_hangs_up_or_vanishes_has_left(make_server: MakeServer) -> None:
    server = make_server()
    hung_up, hung_up_transport = server.join("a")
    vanished, vanished_transport = server.join("b")
    hung_up_transport.protocol.eof_received()
    hung_up_transport.close()
    vanished_transport.abort()
    await turn()
    assert [(w.code, w.end_reason) for w in (hung_up, vanished)] == [(1006, EndReason.LEFT)] * 2
    assert not server.node.manager.closing
    assert not server.node.manager.active_connections


async def test_a_reset_that_a_broadcast_finds_harms_nobody_else(make_server: MakeServer) -> None:
    server = make_server()
    gone, gone_transport = server.join("gone")
    _, transport = server.join("bob")
    gone_transport.peer.close()
    server.publish(1)
    await turn()
    server.publish(2)
    await turn()
    assert gone.code == 1006
    assert data_of(frames(transport.drain())[0]) == [1, 2]
    assert list(server.node.manager.clients) == ["bob"]


async def test_messages_in_pieces_are_read_whole(make_server: MakeServer) -> None:
    server = make_server()
    _, transport = server.join("bob")
    wire = Frame(Opcode.TEXT, b"he", fin=False).serialize(mask=True)
    wire += client(PING, b"!") + Frame(Opcode.CONT, b"llo").serialize(mask=True)
    for n in range(len(wire)):
        transport.protocol.data_received(wire[n : n + 1])
    await turn()
    found, _ = frames(transport.drain())
    assert data_of(found) == ["hello"]
    assert Frame(Opcode.PONG, b"!") in found


STEPS = st.lists(
    st.tuples(st.sampled_from(["broadcast", "direct"]), st.sampled_from([0, 50, 3000, 9000]))
    | st.tuples(st.sampled_from(["read", "writable"]), st.sampled_from([100, 5000, 100_000]))
    | st.tuples(st.sampled_from(["turn", "ping", "text"]), st.just(0))
    | st.tuples(st.just("later"), st.sampled_from([1, 4, 11]))
    | st.tuples(st.sampled_from(["peer closes", "we close", "eof", "violation"]), st.just(0)),
    max_size=40,
)


SAID = {
    "ping": client(PING, b"p"),
    "text": client(TEXT, b'"'),
    "peer closes": closing(),
    "violation": b"\xff\xff",
}
"""What the peer sends in a step."""


async def _live_through(steps: list[tuple[str, int]], tls: bool, deflate: bool) -> None:
    server = Server(max_queue=40_000, ping_interval=5.0, ping_timeout=30.0)
    try:
        wire, transport = server.join("bob", tls=tls, deflate=deflate)
        published = 0
        for what, value in steps:
            if what in ("broadcast", "direct"):
                # Digits that hardly compress, so that there is something to wait for with deflate too.
                filling = f"{random.Random(value).getrandbits(4 * value or 1):x}"
                server.publish(f"{published}:{filling}", None if what == "broadcast" else ("bob",))
                published += wire.end_reason is None
            await _step(server, wire, transport, what, value)
            if what != "broadcast" or value > 3000:
                await turn()
        await turn()
        received = transport.drain()
        _check_stream(received, wire, transport, published)
    finally:
        server.dispose()


async def _step(server: Server, wire: Wire, transport: HandTransport, what: str, value: int) -> None:
    hung_up = transport.is_closing()
    if what == "read":
        transport.read(value)
    elif what == "writable":
        transport.writable()
    elif what == "later":
        server.later(value)
    elif what == "we close":
        await turn()
        wire.close(1012, "restart", EndReason.FORCED)
    elif hung_up:
        return
    elif what in SAID:
        transport.protocol.data_received(SAID[what])
    elif what == "eof":
        transport.protocol.eof_received()
        transport.close()


def _check_stream(received: bytes, wire: Wire, transport: HandTransport, published: int) -> None:
    found, rest = frames(received)
    assert transport.aborted or rest == b"", "a frame is cut only by an abort"
    closes = [n for n, f in enumerate(found) if f.opcode is Opcode.CLOSE]
    assert closes in ([], [len(found) - 1]), "one close frame at most, and nothing after it"
    got = [int(data.split(":")[0]) for data in data_of(found) if data != '"']
    assert got == list(range(len(got))), "in order, none twice, none left out"
    assert len(got) <= published
    if wire.end_reason is None:
        assert len(got) == published
        assert not wire.behind
        assert wire.waiting == 0
    elif wire.end_reason is EndReason.FORCED and not transport.aborted and closes:
        # Unless the peer has closed meanwhile, which reads no more, it gets everything before our close.
        assert len(got) == published or close_of(found)[0] != wire.code
    if closes and wire.end_reason is not EndReason.LEFT:
        # 1000 echoes the peer's, which came while ours still waited.
        assert close_of(found)[0] in (wire.code, 1000)


@examples(250)
@example([("broadcast", 9000), ("broadcast", 0), ("we close", 0), ("peer closes", 0)], False, False)
@given(STEPS, st.booleans(), st.booleans())
def test_whatever_happens_the_peer_sees_a_prefix_and_at_most_one_close(
    steps: list[tuple[str, int]], tls: bool, deflate: bool
) -> None:
    asyncio.run(_live_through(steps, tls, deflate))


async def test_a_short_message_is_held_to_a_short_limit_too(make_server: MakeServer) -> None:
    server = make_server(max_message_size=10)
    wire, _ = server.join("bob")
    wire.data_received(client(TEXT, b"x" * 11))
    assert wire.code == 1009


async def test_a_transport_that_was_behind_already_is_known_to_be(make_server: MakeServer) -> None:
    server = make_server(max_queue=1000)
    made = HandTransport()
    server.transports.append(made)
    made.set_protocol(asyncio.Protocol())  # who is told of the pause, and forgets it
    made.write(bytes(1 << 20))
    wire = Wire(server.services, made, "bob", "192.0.2.1:5")
    wire.begin(ANSWER, None, b"")
    assert wire.behind
    for _ in range(20):
        server.publish("x" * 100)
        await turn()
    assert (wire.code, wire.end_reason) == (1013, EndReason.EVICTED)


# Signs of life


def told(transport: HandTransport) -> list[str]:
    """The types of all text frames up to now."""
    found, _ = frames(transport.drain())
    return [read(bytes(frame.data))["type"] for frame in found if frame.opcode is Opcode.TEXT]


async def test_who_asked_for_it_gets_a_sign_of_life_when_nothing_else_was_sent(
    make_server: MakeServer,
) -> None:
    server = make_server()
    _, kept = server.join("kept", keepalive=10)
    _, plain = server.join("plain")
    server.later(9)
    assert told(kept) == ["welcome"]
    server.later(1)
    assert told(kept) == ["welcome", "keepalive"]
    server.later(19)
    assert told(kept) == ["welcome", "keepalive", "keepalive"]
    assert told(plain) == ["welcome"]


async def test_what_was_sent_is_a_sign_of_life_too(make_server: MakeServer) -> None:
    server = make_server()
    _, kept = server.join("kept", keepalive=10)
    for to in (None, ("kept",)):
        server.later(9)
        server.publish("hello", to)
        await turn()
    server.later(9)
    assert told(kept) == ["welcome", "message", "message"]
    server.publish("not for it", ("another",))
    server.later(1)
    assert told(kept)[3:] == ["keepalive"]


async def test_a_sign_of_life_keeps_its_place_and_waits_for_no_slow_client(make_server: MakeServer) -> None:
    server = make_server()
    slow, socket = server.join("slow", keepalive=1)
    for n in range(200):
        server.publish(f"{n}:" + "." * 2000)
        await turn()
    assert slow.behind
    waiting = slow.waiting
    server.later(5)
    assert slow.waiting == waiting
    assert told(socket) == ["welcome", *["message"] * 200]
    server.later(1)
    assert told(socket)[201:] == ["keepalive"]


@pytest.mark.parametrize("deflate", [False, True])
@pytest.mark.parametrize("tls", [False, True])
async def test_tls_and_compression_change_nothing_about_it(
    make_server: MakeServer, tls: bool, deflate: bool
) -> None:
    server = make_server()
    _, kept = server.join("kept", keepalive=2, tls=tls, deflate=deflate)
    server.later(2)
    assert told(kept) == ["welcome", "keepalive"]


async def test_who_is_being_closed_gets_none(make_server: MakeServer) -> None:
    server = make_server()
    wire, transport = server.join("kept", keepalive=1)
    wire.close(1012, "over", EndReason.FORCED)
    server.later(5)
    assert told(transport) == ["welcome"]


async def test_a_crowd_costs_one_frame_each_and_nothing_where_there_are_broadcasts(
    make_server: MakeServer,
) -> None:
    server = make_server()
    for n in range(50):
        server.join(f"c{n}", keepalive=3)
    before = server.node.manager.traffic.sent_bytes
    server.later(3)
    assert server.node.manager.traffic.sent_bytes - before == 50 * len(frame(TEXT, b'{"type":"keepalive"}'))
    for _ in range(5):
        server.publish("hello")
        await turn()
        before = server.node.manager.traffic.sent_bytes
        server.later(2)
        assert server.node.manager.traffic.sent_bytes == before
