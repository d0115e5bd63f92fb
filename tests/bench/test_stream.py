"""What the client of the bench notices: a broadcast lost, repeated, swapped or changed."""

import pytest

from tests.bench.frames import BINARY, CLOSE, PING, TEXT, broadcast, frame
from tests.bench.stream import Payloads, Stream


def sent(*numbers: int) -> bytes:
    """These broadcasts as a server would send them."""
    return b"".join(frame(TEXT, b'{"data":"%b"}' % broadcast(n, 40), mask=0) for n in numbers)


def test_broadcasts_in_order_are_no_error() -> None:
    stream = Stream()
    wire = sent(0, 1, 2)
    at = stream.follow(0, wire[:70])
    assert at == 70
    assert stream.follow(at, wire[70:]) == len(wire)
    assert stream.follow(0, wire) == len(wire)
    assert (stream.errors, stream.completed(len(wire)), stream.completed(len(wire) - 1)) == (0, 3, 2)


@pytest.mark.parametrize("numbers", [(0, 2), (0, 0), (1, 0)])
def test_a_broadcast_lost_repeated_or_swapped_is_an_error(numbers: tuple[int, ...]) -> None:
    stream = Stream()
    stream.follow(0, sent(*numbers))
    assert stream.errors > 0


def test_a_connection_that_gets_something_else_strays() -> None:
    stream = Stream()
    stream.follow(0, sent(0, 1))
    assert stream.follow(0, sent(1)) is None
    assert stream.errors == 1


def test_a_ping_is_no_part_of_the_stream() -> None:
    stream = Stream()
    wire = sent(0, 1)
    stream.follow(0, wire)
    half = len(wire) // 2
    assert stream.follow(half, frame(PING, b"", mask=0) + wire[half:]) == len(wire)
    assert stream.errors == 0


def test_messages_in_a_stream_that_frames_cut_anywhere_are_the_same_for_all() -> None:
    payload = b"".join(b"MSG all 1 40\r\n%b\r\n" % broadcast(n, 40) for n in range(3))
    one, another = Payloads(), Payloads()
    stream = Stream(streamed=True)
    whole = frame(BINARY, payload, mask=0)
    cut = frame(BINARY, payload[:70], mask=0) + frame(BINARY, payload[70:], mask=0)
    assert stream.follow(0, one.take(whole)) == len(payload)
    at = stream.follow(0, another.take(cut[:100]))
    assert at == 70
    assert stream.follow(at, another.take(cut[100:])) == len(payload)
    assert stream.follow(at, one.take(frame(BINARY, b"PING\r\n", mask=0))) is None  # in the middle of one
    assert stream.follow(len(payload), one.take(frame(BINARY, b"PING\r\n", mask=0))) == len(payload)
    assert (stream.errors, stream.completed(len(payload)), stream.size) == (1, 3, len(payload) // 3)


def test_a_close_frame_ends_the_measurement_with_its_reason() -> None:
    close = frame(CLOSE, (1011).to_bytes(2) + b"keepalive ping timeout", mask=0)
    with pytest.raises(ConnectionError, match="closed: 1011 keepalive ping timeout"):
        Stream().follow(0, close)
    with pytest.raises(ConnectionError, match="closed: 1011 keepalive ping timeout"):
        Payloads().take(close)
