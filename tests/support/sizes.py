"""How large the crowds of tests are, and in how many examples a property is looked at, in one place."""

from dataclasses import dataclass
from typing import Any

from hypothesis import settings


@dataclass(frozen=True)
class Sizes:
    """The numbers that a crowd's test takes. Behaviour is the same at both sizes; costs show at the full one.

    Attributes:
        clients: connected at a time, of which a test needs many.
        resuming: connected at a time to several servers, that come back again and again.
        idle: connections that move in one handover and do nothing else.
        upgrades: handovers in a row.
        in_topics: connected at a time, of whom each subscribes to topics of its own.
        rounds: how often each trouble comes to those.
        between: messages that there are at least between two troubles.
        drain: seconds from the signal to the deadline of a drain under load.
        window: seconds over which clients are asked to leave.
        flow: messages that are there at least when everything has broken in turn.
        pause: seconds that are quiet before each trouble.
        stopped: seconds that a store is stopped for.
        stressed: clients of a stress run.
        lives: of a server that is killed again and again.
        requests: made up for an HTTP route, beside those that its bounds suggest.
    """

    clients: int
    resuming: int
    idle: int
    upgrades: int
    in_topics: int
    rounds: int
    between: int
    drain: int
    window: int
    flow: int
    pause: float
    stopped: float
    stressed: int
    lives: int
    requests: int


SMALL = Sizes(
    clients=200,
    resuming=60,
    idle=1_000,
    upgrades=4,
    in_topics=30,
    rounds=1,
    between=20,
    drain=3,
    window=4,
    flow=1_000,
    pause=0.5,
    stopped=3,
    stressed=50,
    lives=8,
    requests=6,
)
"""On each change."""

FULL = Sizes(
    clients=1_000,
    resuming=300,
    idle=10_000,
    upgrades=20,
    in_topics=300,
    rounds=5,
    between=50,
    drain=8,
    window=10,
    flow=6_000,
    pause=4,
    stopped=5,
    stressed=200,
    lives=20,
    requests=60,
)
"""With `--full`."""


FEWER = 4
"""Of so many examples that `--full` looks at, one is looked at on each change."""

FEWEST = 12
"""Examples that a property is looked at in on each change, where `--full` looks at as many."""


def set_examples(*, full: bool, derandomize: bool) -> None:
    """Say how many examples there are, before a test is imported: 100 of a property that says none."""
    global _full  # noqa: PLW0603
    _full = full
    settings.register_profile("tests", deadline=None, derandomize=derandomize, max_examples=_number(100))
    settings.load_profile("tests")


def examples(count: int, **more: Any) -> settings:
    """Return the settings of a property that `--full` looks at in `count` examples."""
    return settings(max_examples=_number(count), **more)


def _number(count: int) -> int:
    return count if _full else max(min(count, FEWEST), count // FEWER)


_full = False
