"""Parcels as bytes, and the one that comes before there is a loop."""

import os
import socket
import struct
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.other_end import Pair, no_descriptor_left, pipes
from tests.support.server import DEADLINE
from wsctl.lifecycle.parcels import ChannelBroken, Unpacker, close_all, packed, receive_one

PARCELS = st.lists(
    st.tuples(
        st.text(max_size=8),
        st.dictionaries(st.text(max_size=5), st.none() | st.integers() | st.text(max_size=5), max_size=3),
        st.lists(st.binary(max_size=40), max_size=3),
    ),
    max_size=8,
)


@pytest.fixture
def pair() -> Iterator[Pair]:
    one, other = socket.socketpair()
    with one, other:
        yield one, other


@given(PARCELS, st.lists(st.integers(1, 60), max_size=60))
def test_however_the_bytes_are_cut_the_parcels_are_the_same(
    parcels: list[tuple[str, dict[str, object], list[bytes]]], cuts: list[int]
) -> None:
    stream = b"".join(packed(kind, fields, blobs, ()) for kind, fields, blobs in parcels)
    unpacker, found = Unpacker(), []
    for cut in [*cuts, len(stream)]:
        found += unpacker.feed(stream[:cut], ())
        stream = stream[cut:]
    assert [parcel[:3] for parcel in found] == parcels


@pytest.mark.parametrize(
    "said", ["", "[", "5", "null", "[]", '["kind"]', '["kind",[],{},1]', '["kind",5,{}]', '["kind",["a"],{}]']
)
def test_what_is_no_parcel_is_told_and_takes_no_descriptor(said: str) -> None:
    unpacker = Unpacker()
    with no_descriptor_left():
        with pytest.raises(ChannelBroken, match="another language"):
            list(unpacker.feed(struct.pack("!IIH", len(said), 0, 1) + said.encode(), pipes(1)))
        unpacker.drop()


def test_one_parcel_is_waited_for_in_pieces(pair: Pair) -> None:
    fds = pipes(1)
    whole = packed("hello", {"version": 1}, [b"blob"], fds)
    sender = threading.Thread(target=_send_slowly, args=(pair[0], whole, fds))
    sender.start()
    parcel = receive_one(pair[1], DEADLINE)
    sender.join()
    assert parcel[:3] == ("hello", {"version": 1}, [b"blob"])
    assert not os.get_inheritable(parcel.fds[0])
    assert os.fstat(parcel.fds[0]).st_ino == os.fstat(fds[0]).st_ino
    close_all([*parcel.fds, *fds])


def _send_slowly(sock: socket.socket, whole: bytes, fds: list[int]) -> None:
    socket.send_fds(sock, [whole[:1]], fds)
    for n in range(1, len(whole)):
        sock.send(whole[n : n + 1])


def test_who_says_nothing_is_not_waited_for_any_longer(pair: Pair) -> None:
    with pytest.raises(ChannelBroken, match="timed out"):
        receive_one(pair[1], 0.01)


@pytest.mark.parametrize("said", [b"", packed("hello", {}, [b"blob"], ())[:-1]])
def test_who_hangs_up_is_not_waited_for(pair: Pair, said: bytes) -> None:
    pair[0].sendall(said)
    pair[0].close()
    with pytest.raises(ChannelBroken, match="hung up"):
        receive_one(pair[1], DEADLINE)


def test_who_speaks_another_language_is_not_waited_for(pair: Pair) -> None:
    pair[0].sendall(b"GET / HTTP/1.1\r\n\r\n")
    with pytest.raises(ChannelBroken, match="another language"):
        receive_one(pair[1], DEADLINE)
