"""The pauses of a client that cannot connect."""

import random

from wsctl.client.backoff import BASE, CAP, Backoff


def highest(_low: float, high: float) -> float:
    return high


def test_the_ceiling_doubles_up_to_the_cap() -> None:
    backoff = Backoff(highest)
    assert [backoff.pause() for _ in range(9)] == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]


def test_each_pause_is_drawn_from_the_whole_range() -> None:
    drawn: list[tuple[float, float]] = []

    def record(low: float, high: float) -> float:
        drawn.append((low, high))
        return low

    backoff = Backoff(record)
    assert [backoff.pause() for _ in range(3)] == [0, 0, 0]
    assert drawn == [(0, BASE), (0, 2 * BASE), (0, 4 * BASE)]


def test_after_a_reset_it_starts_over() -> None:
    backoff = Backoff(highest)
    for _ in range(5):
        backoff.pause()
    backoff.reset()
    assert backoff.pause() == BASE


def test_it_never_fails_however_often_it_is_asked() -> None:
    backoff = Backoff(random.Random(1).uniform)
    assert all(0 <= backoff.pause() <= CAP for _ in range(5000))
