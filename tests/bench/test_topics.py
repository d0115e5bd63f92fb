"""A message of a topic costs what one to everybody does, for each of its subscribers, and subscriptions take
little memory."""

from tests.bench.topics import figures, memory

RATIO = 1.5
"""Times the CPU of a delivery to everybody that one of a topic may take: the goal is 1.2, and runs this short
differ by a tenth and more."""

MOST_KIB = 6.0
"""KiB that a connection with 10 subscriptions may take."""


def ratio(rounds: int, seconds: float) -> float:
    return figures(rounds, clients=100, seconds=seconds)["delivery ratio"]


def test_a_delivery_to_a_subscriber_costs_what_one_to_everybody_does() -> None:
    assert ratio(rounds=2, seconds=0.05) < RATIO or ratio(rounds=9, seconds=0.2) < RATIO


def test_ten_subscriptions_take_little_memory_also_where_nobody_shares_them() -> None:
    found = memory(500, only=["shared", "own"])
    assert max(found.values()) < MOST_KIB, found
