"""A message that a backend publishes costs a fraction of what it costs by the framework, and less in a
batch."""

from tests.bench.publish import figures

CHEAPER = 2.5
"""Times the CPU of a message that it takes by the framework, at least: it is some six."""

IN_A_BATCH = 1.3
"""Times the CPU of a message in a batch that it takes alone, at least: it is two."""


def is_cheap(rounds: int) -> bool:
    found = figures(rounds, count=300)
    return found["framework ratio"] > CHEAPER and found["one_us"] > IN_A_BATCH * found["batch_us"]


def test_publishing_over_http_does_not_cost_what_the_framework_takes() -> None:
    assert is_cheap(rounds=2) or is_cheap(rounds=7)
