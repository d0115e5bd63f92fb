"""Replays: one connection after the other gets a slice, and no id more than it may have."""

import random
from collections import deque
from collections.abc import Callable

import pytest

from wsctl.frame import Batch, Encoding
from wsctl.hub import replays
from wsctl.hub.replays import FILLS_IN, FULL_REPLAYS, LEAST, Replays


class Loop:
    """An event loop that iterates when told to, and what was fed in it."""

    def __init__(self) -> None:
        self.now = 0.0
        self.soon: deque[Callable[[], None]] = deque()
        self.later: list[tuple[float, Callable[[], None]]] = []
        self.fed: list[str] = []
        self.replays = Replays(
            LEAST, lambda: self.now, self.soon.append, lambda wait, call: self.later.append((wait, call))
        )

    def iterate(self) -> list[str]:
        """Run one iteration; who has been fed in it."""
        before = len(self.fed)
        for _ in range(len(self.soon)):
            self.soon.popleft()()
        return self.fed[before:]


class Coming:
    """A connection that wants so many slices."""

    def __init__(self, loop: Loop, client_id: str, slices: int) -> None:
        self._loop = loop
        self.client_id = client_id
        self._slices = slices

    def feed(self) -> None:
        self._loop.fed.append(self.client_id)
        self._slices -= 1
        if self._slices:
            self._loop.replays.want(self)


def test_one_slice_an_iteration_and_each_connection_in_rotation() -> None:
    loop = Loop()
    for name, slices in (("bob", 3), ("eve", 2), ("cat", 1)):
        loop.replays.want(Coming(loop, name, slices))
    order = []
    while loop.soon:
        fed = loop.iterate()
        assert len(fed) == 1
        order += fed
    assert order == ["bob", "eve", "cat", "bob", "eve", "bob"]


def test_beyond_some_full_replays_an_id_waits_and_others_do_not() -> None:
    loop = Loop()
    loop.replays.spend("bob", FULL_REPLAYS * LEAST)
    assert loop.replays.wait("bob") == 0
    loop.replays.spend("bob", LEAST)
    assert loop.replays.wait("bob") == FILLS_IN
    assert loop.replays.wait("eve") == 0
    loop.replays.want(Coming(loop, "bob", 1))
    assert (loop.iterate(), [wait for wait, _ in loop.later]) == ([], [FILLS_IN])
    loop.later.pop()[1]()
    assert loop.iterate() == ["bob"]
    loop.now += FILLS_IN
    assert loop.replays.wait("bob") == 0


def test_the_ids_that_are_counted_are_bounded() -> None:
    loop = Loop()
    for n in range(replays.MOST_IDS + 1):
        loop.replays.spend(str(n), 9 * LEAST)
    assert loop.replays.wait("0") == 0
    assert loop.replays.wait("1") > 0


@pytest.mark.parametrize("encoding", [Encoding.DEFLATE, Encoding.EVENTS, Encoding.EVENTS_WITHOUT_CHUNKS])
def test_other_forms_than_that_of_history_are_made_once_for_all_and_bounded(encoding: Encoding) -> None:
    loop = Loop()
    batch = _message(b"x" * 5000)
    first = loop.replays.encoded([batch], encoding)
    made = batch.copy().encoded(encoding)
    assert first == made
    assert loop.replays.encoded([batch], encoding) is first
    assert loop.replays.encoded([batch], Encoding.PLAIN) == batch.wire
    assert loop.replays.encoded([batch, batch], encoding) == 2 * made
    noise = random.Random(1)
    for _ in range(1200):
        loop.replays.encoded([_message(noise.randbytes(4000).hex().encode())], encoding)
    assert loop.replays.kept_bytes <= replays.KEPT
    assert loop.replays.encoded([batch], encoding) is not first


def test_what_is_one_clients_alone_is_not_kept_and_has_its_form() -> None:
    loop = Loop()
    batch = Batch((b'{"type":"message","id":"1-0","data":1}',), plain=True)
    events = b'event: message\nid: 1-0\ndata: {"type":"message","id":"1-0","data":1}\n\n'
    assert loop.replays.encoded([batch], Encoding.EVENTS_WITHOUT_CHUNKS) == events
    assert loop.replays.encoded([batch], Encoding.DEFLATE) is batch.wire
    assert loop.replays.kept_bytes == 0


def _message(data: bytes) -> Batch:
    return Batch((b'{"type":"message","id":"1-0","data":"%s"}' % data,))
