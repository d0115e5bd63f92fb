"""One event stream, on transports whose events are given by hand."""

import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.event_streams import Read, body_of, dechunked, messages_of, read_events
from tests.support.transport import HandTransport
from tests.support.wires import STREAM_ANSWER as HEAD
from tests.support.wires import MakeServer, Server, servers, turn
from wsctl.event_stream import LAST_CHUNK
from wsctl.frame import Encoding
from wsctl.hub.connection import STALL_TIMEOUT, EndReason
from wsctl.server.drainable import HubClients
from wsctl.server.event_stream.stream import KEEPALIVE, EventStream
from wsctl.server.http.deadlines import MAX_UNREAD
from wsctl.server.websocket.snapshot import decode_snapshots, encode_snapshots

pytestmark = pytest.mark.anyio


@pytest.fixture
def make_server() -> Iterator[MakeServer]:
    with servers() as make:
        yield make


def join(server: Server, name: str, **how: Any) -> tuple[EventStream, HandTransport]:
    return server.join_stream(name, **how)


def received(transport: HandTransport) -> Read:
    return read_events(body_of(transport.drain()))


def close_of(read: Read) -> tuple[int, str]:
    assert read.events[-1].type == "close", read.events
    last = json.loads(read.events[-1].data)
    return last["code"], last["reason"]


async def test_the_welcome_is_the_first_event_and_messages_follow_with_their_ids(
    make_server: MakeServer,
) -> None:
    server = make_server()
    _, transport = join(server, "bob")
    for n in range(3):
        server.publish(n)
        await turn()
    welcome, *rest = received(transport).events
    assert (welcome.type, json.loads(welcome.data)["client_id"]) == ("welcome", "bob")
    assert messages_of(rest) == [0, 1, 2]
    assert [event.last_id for event in rest] == [json.loads(event.data)["id"] for event in rest]


async def test_a_websocket_and_streams_of_both_kinds_get_the_same_frames(make_server: MakeServer) -> None:
    server = make_server()
    _, chunked = join(server, "a")
    _, bare = join(server, "b", encoding=Encoding.EVENTS_WITHOUT_CHUNKS)
    server.join("c")
    server.publish("one")
    await turn()
    plain = bare.drain().removeprefix(HEAD)
    assert read_events(plain).events[1:] == received(chunked).events[1:]
    assert messages_of(read_events(plain).events) == ["one"]


async def test_a_client_that_comes_back_has_what_it_missed_and_no_id_before_that(
    make_server: MakeServer,
) -> None:
    server = make_server()
    server.publish("seen")
    since = server.node.log.newest
    server.publish("missed")
    _, transport = join(server, "bob", since=since)
    server.publish("live")
    await turn()
    events = received(transport).events
    assert json.loads(events[0].data)["recovered"] is True
    assert events[0].last_id == ""
    assert messages_of(events) == ["missed", "live"]


@pytest.mark.parametrize("encoding", [Encoding.EVENTS, Encoding.EVENTS_WITHOUT_CHUNKS])
@pytest.mark.parametrize("is_known", [True, False])
async def test_one_that_comes_back_and_missed_nothing_has_the_newest_id(
    make_server: MakeServer, encoding: Encoding, is_known: bool
) -> None:
    server = make_server()
    server.publish("seen")
    since = server.node.log.newest if is_known else "7-7"
    server.publish("for others", topic="x")
    _, transport = join(server, "bob", since=since, encoding=encoding, topics=("a",))
    answer = transport.drain()
    body = body_of(answer) if encoding is Encoding.EVENTS else answer.removeprefix(HEAD)
    read = read_events(body)
    (welcome,) = read.events
    assert json.loads(welcome.data)["recovered"] is is_known
    assert (welcome.last_id, read.rest) == (server.node.log.newest, "")


async def test_a_stream_gets_only_the_topics_that_it_asked_for(make_server: MakeServer) -> None:
    server = make_server()
    _, transport = join(server, "bob", topics=("a.*",))
    for topic in ("a.b", "c", None):
        server.publish(topic, topic=topic)
    await turn()
    assert messages_of(received(transport).events) == ["a.b", None]


async def test_what_comes_behind_the_request_is_dropped_up_to_a_bound(make_server: MakeServer) -> None:
    server = make_server()
    stream, transport = join(server, "bob", early=b"GET / HTTP/1.1\r\n\r\n")
    stream.data_received(bytes(MAX_UNREAD // 2))
    assert transport.reading
    stream.data_received(bytes(MAX_UNREAD))
    assert not transport.reading
    server.publish("still there")
    await turn()
    assert messages_of(received(transport).events) == ["still there"]


async def test_a_client_that_ends_its_side_has_left(make_server: MakeServer) -> None:
    server = make_server()
    stream, _ = join(server, "bob")
    assert not stream.eof_received()
    assert stream.end_reason is EndReason.LEFT
    assert server.node.manager.active_connections == {}


async def test_a_stream_that_is_closed_has_its_last_event_and_its_last_chunk(make_server: MakeServer) -> None:
    server = make_server()
    stream, transport = join(server, "bob")
    stream.close(1012, "restart", EndReason.FORCED)
    await turn()
    answer = transport.drain()
    assert answer.endswith(LAST_CHUNK)
    read = read_events(body_of(answer))
    assert close_of(read) == (1012, "restart")
    assert read.retry is not None
    assert 500 <= read.retry <= 1500
    assert transport.lost
    assert server.node.manager.count_open() == 0


async def test_one_of_http_1_0_ends_without_a_chunk(make_server: MakeServer) -> None:
    server = make_server()
    stream, transport = join(server, "bob", encoding=Encoding.EVENTS_WITHOUT_CHUNKS)
    stream.close(1012, "restart", EndReason.FORCED)
    assert close_of(read_events(transport.drain().removeprefix(HEAD))) == (1012, "restart")


async def test_a_replaced_stream_is_told_to_stay_away(make_server: MakeServer) -> None:
    server = make_server()
    _, first = join(server, "bob")
    _, second = join(server, "bob")
    assert received(first).events[-1].last_id == "final"
    assert close_of(received(first))[0] == 4501
    assert [event.type for event in received(second).events] == ["welcome"]


async def test_what_waits_goes_out_before_the_end(make_server: MakeServer) -> None:
    server = make_server()
    stream, transport = join(server, "bob")
    for n in range(40):
        server.publish([n, "x" * 2000])
    await turn()
    assert stream.behind
    stream.close(1012, "restart", EndReason.FORCED)
    assert not transport.is_closing()
    answer = transport.drain()
    assert answer.endswith(LAST_CHUNK)
    read = read_events(body_of(answer))
    assert [data[0] for data in messages_of(read.events)] == list(range(40))
    assert close_of(read) == (1012, "restart")
    await turn()
    assert transport.lost


async def test_a_slow_reader_is_cut_behind_a_whole_chunk(make_server: MakeServer) -> None:
    server = make_server(max_queue=100_000)
    stream, transport = join(server, "bob")
    for n in range(200):
        server.publish([n, "x" * 2000])
        await turn()
    assert stream.end_reason is EndReason.EVICTED
    answer = transport.drain()
    assert answer.endswith(LAST_CHUNK)
    read = read_events(body_of(answer))
    assert close_of(read)[0] == 1013
    got = [data[0] for data in messages_of(read.events)]
    assert got == list(range(len(got)))


async def test_one_that_reads_nothing_is_cut_and_then_aborted(make_server: MakeServer) -> None:
    server = make_server()
    stream, transport = join(server, "bob")
    for n in range(100):
        server.publish([n, "x" * 2000])
    await turn()
    server.later(STALL_TIMEOUT + 1)
    assert stream.end_reason is EndReason.EVICTED
    server.later(11)
    assert transport.aborted


async def test_a_silent_server_sends_comments(make_server: MakeServer) -> None:
    server = make_server()
    _, transport = join(server, "bob")
    before = len(received(transport).events)
    server.later(2 * KEEPALIVE + 1)
    body = body_of(transport.drain())
    assert body.count(b"\n:\n") == 2
    assert len(read_events(body).events) == before


async def test_one_that_was_asked_to_leave_is_ended_then_and_has_left(make_server: MakeServer) -> None:
    server = make_server()
    stream, transport = join(server, "bob")
    stream.asked_to_leave(5.0)
    server.later(4)
    assert stream.end_reason is None
    server.later(1)
    assert stream.end_reason is EndReason.LEFT
    assert close_of(received(transport))[0] == 1012


async def test_one_that_may_stay_after_all_stays(make_server: MakeServer) -> None:
    server = make_server()
    stream, _ = join(server, "bob")
    stream.asked_to_leave(5.0)
    stream.asked_to_leave(None)
    server.later(10)
    assert stream.end_reason is None


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="Linux ends dead connections by itself")
@pytest.mark.parametrize(("interval", "patience", "expected"), [(20, 10, 30_000), (0, 10, 0), (20, 0, 0)])
async def test_the_kernel_is_told_how_long_a_peer_may_be_silent(
    make_server: MakeServer, interval: float, patience: float, expected: int
) -> None:
    server = make_server(ping_interval=interval, ping_timeout=patience)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        peer = socket.create_connection(listener.getsockname())
        sock, _ = listener.accept()
        transport = HandTransport()
        server.transports.append(transport)
        with peer, sock:
            transport.sock.close()
            transport.sock = sock
            EventStream(server.services, transport, "bob", "192.0.2.1:5", Encoding.EVENTS)
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == expected


@pytest.mark.parametrize("encoding", [Encoding.EVENTS, Encoding.EVENTS_WITHOUT_CHUNKS])
@pytest.mark.parametrize("behind", [False, True])
async def test_a_stream_goes_on_in_another_process_without_a_gap_or_a_repetition(
    make_server: MakeServer, encoding: Encoding, behind: bool
) -> None:
    server = make_server()
    stream, transport = join(server, "bob", encoding=encoding, topics=("a",))
    for n in range(30 if behind else 2):
        server.publish([n, "x" * 2000])
        if not behind:
            transport.read()
    await turn()
    assert stream.behind is behind
    count = 30 if behind else 2
    assert stream.can_move
    detached = stream.detach()
    await detached.ended
    rows, blobs = encode_snapshots([detached.snapshot])
    (snapshot,) = decode_snapshots(rows, blobs)
    assert snapshot.encoding is encoding
    server.publish([count, "in between"])
    await turn()
    there = HandTransport(over=transport)
    server.transports.append(there)
    moved = EventStream(server.services, there, "bob", snapshot.address, snapshot.encoding)
    there.set_protocol(moved)
    missed, recovered, _ = server.node.log.missed(snapshot.seen, "bob", snapshot.subscriptions)
    assert recovered
    moved.restore(snapshot, [batch.copy() for batch in missed])
    server.publish([count + 1, "live"], topic="a")
    await turn()
    answer = there.drain().removeprefix(HEAD)
    read = read_events(answer if encoding is not Encoding.EVENTS else dechunked(answer)[0])
    assert [data[0] for data in messages_of(read.events)] == list(range(count + 2))
    assert moved.keepalive == KEEPALIVE
    assert [event.type for event in read.events].count("welcome") == 1


async def test_a_drain_gives_each_stream_a_moment_and_its_cancel_lets_all_stay(
    make_server: MakeServer,
) -> None:
    server = make_server()
    clients = HubClients(server.node.manager, lambda: server.now, lambda moments: None)
    joined = [join(server, f"c{n}") for n in range(4)]
    clients.announce(60.0, "restart", 8.0)
    server.later(4)
    ended = [stream.end_reason for stream, _ in joined]
    assert 0 < ended.count(EndReason.LEFT) < 4
    clients.withdraw()
    server.later(20)
    assert [stream.end_reason for stream, _ in joined] == ended
    for _, transport in joined:
        notices = [json.loads(e.data) for e in received(transport).events if e.type == "shutdown"]
        assert 0 <= notices[0]["reconnect_in_s"] <= 8


async def test_streams_are_counted_while_they_are_connected(make_server: MakeServer) -> None:
    server = make_server()
    manager = server.node.manager
    server.join("zoe")
    stream, _ = join(server, "bob")
    join(server, "old", encoding=Encoding.EVENTS_WITHOUT_CHUNKS)
    assert manager.streams == 2
    stream.close(1012, "", EndReason.FORCED)
    assert manager.streams == 1
