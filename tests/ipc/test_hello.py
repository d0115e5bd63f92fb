"""The packet that comes before there is a loop."""

import os
import socket
import threading
from collections.abc import Iterator

import pytest

from tests.support.other_end import Pair, pipes
from tests.support.server import DEADLINE
from wsctl.ipc.framing import ChannelBroken, close_all, encode_packet
from wsctl.ipc.hello import receive_packet


@pytest.fixture
def pair() -> Iterator[Pair]:
    one, other = socket.socketpair()
    with one, other:
        yield one, other


def test_one_packet_is_waited_for_in_pieces(pair: Pair) -> None:
    fds = pipes(1)
    whole = encode_packet("hello", {"version": 1}, [b"blob"], fds)
    sender = threading.Thread(target=_send_slowly, args=(pair[0], whole, fds))
    sender.start()
    packet = receive_packet(pair[1], DEADLINE)
    sender.join()
    assert packet[:3] == ("hello", {"version": 1}, [b"blob"])
    assert not os.get_inheritable(packet.fds[0])
    assert os.fstat(packet.fds[0]).st_ino == os.fstat(fds[0]).st_ino
    close_all([*packet.fds, *fds])


def _send_slowly(sock: socket.socket, whole: bytes, fds: list[int]) -> None:
    socket.send_fds(sock, [whole[:1]], fds)
    for n in range(1, len(whole)):
        sock.send(whole[n : n + 1])


def test_who_says_nothing_is_not_waited_for_any_longer(pair: Pair) -> None:
    with pytest.raises(ChannelBroken, match="timed out"):
        receive_packet(pair[1], 0.01)


@pytest.mark.parametrize("said", [b"", encode_packet("hello", {}, [b"blob"], ())[:-1]])
def test_who_hangs_up_is_not_waited_for(pair: Pair, said: bytes) -> None:
    pair[0].sendall(said)
    pair[0].close()
    with pytest.raises(ChannelBroken, match="hung up"):
        receive_packet(pair[1], DEADLINE)


def test_who_speaks_another_language_is_not_waited_for(pair: Pair) -> None:
    pair[0].sendall(b"GET / HTTP/1.1\r\n\r\n")
    with pytest.raises(ChannelBroken, match="another language"):
        receive_packet(pair[1], DEADLINE)
