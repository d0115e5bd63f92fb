"""Idle clients take little memory. Alone: beside other tests a connection took twice as much once."""

from tests.bench import event_streams, topics

OF_A_STREAM = 3.0
"""KiB that an idle stream may take."""

WITH_SUBSCRIPTIONS = 6.0
"""KiB that a connection with 10 subscriptions may take."""


def test_an_idle_stream_takes_little_memory() -> None:
    assert event_streams.memory(500, only=["stream"])["kib stream"] < OF_A_STREAM


def test_ten_subscriptions_take_little_memory_also_where_nobody_shares_them() -> None:
    found = topics.memory(500, only=["shared", "own"])
    assert max(found.values()) < WITH_SUBSCRIPTIONS, found
