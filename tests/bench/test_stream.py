"""What the client of the bench notices: a broadcast lost, repeated, swapped or changed."""

import pytest

from tests.bench.frames import PING, TEXT, broadcast, frame
from tests.bench.stream import Stream


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
