"""Packets and descriptors between two ends of a socket."""

import asyncio
import os
import socket
import struct
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support.other_end import OtherEnd, Pair, no_descriptor_left, open_descriptors, pipes, small_pair
from tests.support.server import DEADLINE
from tests.support.sizes import examples
from tests.support.wires import turn
from wsctl.ipc.channel import MAX_QUEUED, Channel
from wsctl.ipc.framing import Packet, close_all, encode_packet, send

pytestmark = pytest.mark.anyio


@pytest.fixture
def pair() -> Iterator[Pair]:
    """Two ends of a socket that holds little."""
    one, other = small_pair()
    with one, other:
        yield one, other


class Near:
    """A channel that writes down what happens to it."""

    def __init__(self, sock: socket.socket) -> None:
        self.broken: list[str] = []
        self.drained = 0
        self._over = asyncio.Event()
        self.channel = Channel(sock, self._take, self._broken, self._drained)

    async def end(self) -> str:
        """What it was told when it broke, waited for."""
        async with asyncio.timeout(DEADLINE):
            await self._over.wait()
        (why,) = self.broken
        return why

    def _take(self, packet: object) -> None:
        raise AssertionError(f"{packet} came back")

    def _broken(self, why: str) -> None:
        self.broken.append(why)
        self._over.set()

    def _drained(self) -> None:
        assert not self.channel.queued
        self.drained += 1


Sent = tuple[str, dict[str, Any], list[int], int]
"""Kind, fields, sizes of the blobs, and how many descriptors."""

SIZES = st.lists(st.integers(0, 40) | st.sampled_from([4095, 70_000, 400_000]), max_size=3)
FIELDS = st.dictionaries(st.text(max_size=5), st.none() | st.integers() | st.text(max_size=5), max_size=3)
PACKETS = st.lists(st.tuples(st.text(min_size=1, max_size=8), FIELDS, SIZES, st.integers(0, 4)), max_size=8)


async def _sent_and_heard(packets: list[Sent]) -> None:
    one, other = small_pair()
    near, far = Near(one), OtherEnd(other)
    identities = []
    for kind, fields, sizes, count in packets:
        fds = pipes(count)
        identities.append([os.fstat(fd).st_ino for fd in fds])
        near.channel.send(kind, fields, [os.urandom(1) * size for size in sizes], fds)
    near.channel.send("")
    await far.hear("")
    arrived = far.heard[:-1]
    assert [(p.kind, p.fields, [len(blob) for blob in p.blobs]) for p in arrived] == [p[:3] for p in packets]
    assert all(blob == blob[:1] * len(blob) for packet in arrived for blob in packet.blobs)
    assert [[os.fstat(fd).st_ino for fd in packet.fds] for packet in arrived] == identities
    assert not any(os.get_inheritable(fd) for packet in arrived for fd in packet.fds)
    assert (near.channel.queued, near.broken) == (0, [])
    assert near.drained
    far.dispose()
    near.channel.close()


@examples(20)
@example([("a", {}, [400_000], 4), ("b", {}, [], 4), ("c", {}, [1], 0), ("d", {}, [], 1)])
@given(PACKETS)
def test_whatever_is_sent_arrives_in_order_and_whole_with_its_descriptors(packets: list[Sent]) -> None:
    with no_descriptor_left():
        asyncio.run(_sent_and_heard(packets))


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (struct.pack("!IIH", 2**32 - 1, 0, 0), "another language"),
        (struct.pack("!IIH", 0, 2**32 - 1, 0), "another language"),
        (b"GET / HTTP/1.1\r\n\r\n", "another language"),
        (encode_packet("kind", {}, (), [0]), "descriptors were lost"),
        (b"", "hung up"),
        (encode_packet("kind", {}, [b"whole"], ())[:-1], "hung up"),
    ],
)
async def test_the_other_side_says_nonsense_or_goes_and_that_is_told_once(
    pair: Pair, said: bytes, why: str
) -> None:
    near = Near(pair[0])
    pair[1].sendall(said)
    pair[1].close()
    assert why in await near.end()
    near.channel.send("nobody hears this")
    await turn()
    assert len(near.broken) == 1


async def test_what_was_sent_before_a_hang_up_is_heard(pair: Pair) -> None:
    near, far = Near(pair[0]), OtherEnd(pair[1])
    near.channel.send("first")
    near.channel.send("last")
    near.channel.close()
    assert await far.end() == "it hung up"
    assert far.kinds == ["first", "last"]


async def test_who_closes_is_told_of_no_end_and_sends_nothing_more(pair: Pair) -> None:
    near, far = Near(pair[0]), OtherEnd(pair[1])
    near.channel.close()
    near.channel.close()
    with no_descriptor_left():
        near.channel.send("too late", {}, [b"x"], pipes(1))
    assert await far.end() == "it hung up"
    assert (far.kinds, near.broken, near.channel.queued) == ([], [], 0)


@pytest.mark.parametrize("queued", [False, True])
async def test_who_is_just_sending_is_not_told_of_the_end_before_it_is_done(pair: Pair, queued: bool) -> None:
    near = Near(pair[0])
    if queued:
        near.channel.send("stuck", {}, [bytes(1 << 20)], pipes(1))
    pair[1].close()
    before = open_descriptors()
    for _ in range(2):
        near.channel.send("to nobody", {}, (), pipes(1))
        assert near.broken == []
    assert await near.end()
    assert near.channel.closed
    assert len(open_descriptors()) == len(before) - 1
    await turn()
    assert len(near.broken) == 1


async def test_what_the_other_side_said_before_it_went_is_heard_though_it_cannot_be_answered(
    pair: Pair,
) -> None:
    near = OtherEnd(pair[0])
    pair[1].sendall(encode_packet("last words", {}, (), ()))
    pair[1].close()
    for _ in range(2):
        near.say("to nobody")
    assert await near.end() == "it hung up"
    assert near.kinds == ["last words"]


async def test_who_takes_nothing_any_more_is_given_up_and_nothing_is_kept_for_it() -> None:
    with no_descriptor_left():
        (one, other), block = small_pair(), [bytes(1 << 20)]
        near = Near(one)
        near.channel.send("much", {}, block * 8, pipes(2))
        near.channel.send("more", {}, block, pipes(2))
        assert 8 << 20 < near.channel.queued < 9 << 20
        near.channel.send("too much", {}, block * (MAX_QUEUED >> 20), pipes(2))
        assert (near.channel.closed, near.channel.queued, near.broken) == (True, 0, [])
        assert await near.end() == "it takes nothing any more"
        near.channel.send("nor this", {}, (), pipes(2))
        other.close()


async def test_what_was_sent_before_nonsense_is_heard(pair: Pair) -> None:
    fds, far = pipes(1), OtherEnd(pair[1])
    socket.send_fds(pair[0], [encode_packet("whole", {}, (), fds) + b"GET / HTTP/1.1\r\n\r\n"], fds)
    assert "another language" in await far.end()
    far.dispose()
    close_all(fds)
    assert far.kinds == ["whole"]


async def test_descriptors_of_half_a_packet_are_closed() -> None:
    with no_descriptor_left():
        (one, other), fds = small_pair(), pipes(2)
        far = OtherEnd(other)
        socket.send_fds(one, [encode_packet("half", {}, [b"..."], fds)[:-1]], fds)
        one.close()
        assert await far.end() == "it hung up"
        close_all(fds)


async def test_who_closes_while_it_takes_a_packet_gets_no_other() -> None:
    with no_descriptor_left():
        (one, other), fds = small_pair(), pipes(2)
        taken: list[Packet] = []
        hung_up = asyncio.Event()

        def take(packet: Packet) -> None:
            taken.append(packet)
            far.close()
            hung_up.set()

        far = Channel(other, take, lambda why: None)
        socket.send_fds(one, [encode_packet("one", {}, (), fds) + encode_packet("two", {}, (), fds)], fds * 2)
        async with asyncio.timeout(DEADLINE):
            await hung_up.wait()
        assert [packet.kind for packet in taken] == ["one"]
        close_all([*taken[0].fds, *fds])
        one.close()


async def test_who_goes_on_with_a_channel_sends_and_takes_what_was_under_way_whole() -> None:
    ours, theirs = small_pair()
    heard: list[Packet] = []
    whole = asyncio.Event()

    def take(packet: Packet) -> None:
        heard.append(packet)
        whole.set()

    first = Channel(ours, take, pytest.fail)
    other = OtherEnd(theirs)
    (inner,) = pipes(1)
    first.send("large", {}, [b"x" * 1_000_000], [inner])
    first.send("small", {"n": 1})
    half = encode_packet("back", {}, [b"y" * 10], ())
    theirs.send(half[:-5])
    await turn()
    state = first.state()
    assert 0 < len(state.queued[0]) < 1_000_000
    assert state.received == half[:-5]
    asyncio.get_running_loop().remove_reader(ours)
    asyncio.get_running_loop().remove_writer(ours)
    second = Channel(ours, take, pytest.fail, state=state)
    theirs.send(half[-5:])
    large, small = await other.hear("large"), await other.hear("small")
    assert (large.blobs, small.fields) == ([b"x" * 1_000_000], {"n": 1})
    assert os.fstat(large.fds[0])
    async with asyncio.timeout(DEADLINE):
        await whole.wait()
    assert [(packet.kind, packet.blobs) for packet in heard] == [("back", [b"y" * 10])]
    second.close()
    other.dispose()
    close_all(large.fds)


@pytest.mark.parametrize("anyio_backend", [("asyncio", {"use_uvloop": use}) for use in (True, False)])
async def test_the_last_words_of_a_process_that_ended_with_unread_packets_are_heard_and_its_end(
    pair: Pair,
) -> None:
    one, other = pair
    far = OtherEnd(one)
    far.say("unread")
    for word in ("one", "two", "three"):
        (fd,) = pipes(1)
        send(other, memoryview(encode_packet(word, {}, (), [fd])), [fd])
        os.close(fd)
    other.close()
    await far.end()
    assert far.kinds == ["one", "two", "three"]
    far.dispose()
