"""Replays: one connection after the other gets a slice, and no id more than it may have."""

import random
from collections import deque
from collections.abc import Callable

from wsctl.frame import Batch
from wsctl.hub import replays
from wsctl.hub.replays import FILLS_IN, FULL_REPLAYS, LEAST, Replays


class Turns:
    """A loop that is turned by hand, and connections that note when they have a turn."""

    def __init__(self) -> None:
        self.now = 0.0
        self.soon: deque[Callable[[], None]] = deque()
        self.later: list[tuple[float, Callable[[], None]]] = []
        self.fed: list[str] = []
        self.replays = Replays(
            LEAST, lambda: self.now, self.soon.append, lambda wait, call: self.later.append((wait, call))
        )

    def turn(self) -> list[str]:
        """Who has been fed in one turn of the loop."""
        before = len(self.fed)
        for _ in range(len(self.soon)):
            self.soon.popleft()()
        return self.fed[before:]


class Coming:
    """A connection that wants so many slices."""

    def __init__(self, turns: Turns, client_id: str, slices: int) -> None:
        self._turns = turns
        self.client_id = client_id
        self._slices = slices

    def feed(self) -> None:
        self._turns.fed.append(self.client_id)
        self._slices -= 1
        if self._slices:
            self._turns.replays.want(self)


def test_one_slice_a_turn_and_each_in_its_turn() -> None:
    turns = Turns()
    for name, slices in (("bob", 3), ("eve", 2), ("cat", 1)):
        turns.replays.want(Coming(turns, name, slices))
    order = []
    while turns.soon:
        fed = turns.turn()
        assert len(fed) == 1
        order += fed
    assert order == ["bob", "eve", "cat", "bob", "eve", "bob"]


def test_beyond_some_full_replays_an_id_waits_and_others_do_not() -> None:
    turns = Turns()
    turns.replays.spend("bob", FULL_REPLAYS * LEAST)
    assert turns.replays.wait("bob") == 0
    turns.replays.spend("bob", LEAST)
    assert turns.replays.wait("bob") == FILLS_IN
    assert turns.replays.wait("eve") == 0
    turns.replays.want(Coming(turns, "bob", 1))
    assert (turns.turn(), [wait for wait, _ in turns.later]) == ([], [FILLS_IN])
    turns.later.pop()[1]()
    assert turns.turn() == ["bob"]
    turns.now += FILLS_IN
    assert turns.replays.wait("bob") == 0


def test_the_ids_that_are_counted_are_bounded() -> None:
    turns = Turns()
    for n in range(replays.MOST_IDS + 1):
        turns.replays.spend(str(n), 9 * LEAST)
    assert turns.replays.wait("0") == 0
    assert turns.replays.wait("1") > 0


def test_compressed_copies_are_shared_and_bounded() -> None:
    turns = Turns()
    batch = Batch((b'"%s"' % (b"x" * 5000),))
    first = turns.replays.encoded(batch, True)
    assert len(first) < len(batch.wire) / 10
    assert turns.replays.encoded(batch, True) is first
    assert turns.replays.encoded(batch, False) is batch.wire
    noise = random.Random(1)
    for _ in range(1200):
        turns.replays.encoded(Batch((noise.randbytes(4000),)), True)
    assert turns.replays.compressed_bytes <= replays.COMPRESSED
    assert turns.replays.encoded(batch, True) is not first
