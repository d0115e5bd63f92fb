"""A message of a topic costs what one to everybody does, for each of its subscribers."""

from tests.bench.topics import figures

RATIO = 1.5
"""Times the CPU of a delivery to everybody that one of a topic may take: the goal is 1.2, and runs this short
differ by a tenth and more."""


def ratio(rounds: int, seconds: float) -> float:
    return figures(rounds, clients=100, seconds=seconds)["delivery ratio"]


def test_a_delivery_to_a_subscriber_costs_what_one_to_everybody_does() -> None:
    assert ratio(rounds=2, seconds=0.05) < RATIO or ratio(rounds=9, seconds=0.2) < RATIO
