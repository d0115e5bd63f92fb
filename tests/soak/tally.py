"""What happened, counted, and what must not have happened, in words."""

from collections import Counter
from collections.abc import Iterable

KEPT = 50
"""Faults whose words are kept: what breaks once often breaks a thousand times."""


class Tally:
    """Attributes:
    acts: how often each actor did what it does.
    endings: how often connections of each kind ended with a code, as the server's log has it.
    refusals: how often each kind was not let in, and with which answer.
    counts: everything else.
    faults: the first of them; `faulty` is how many there are.
    """

    def __init__(self) -> None:
        self.acts: Counter[str] = Counter()
        self.endings: Counter[tuple[str, int]] = Counter()
        self.refusals: Counter[tuple[str, str]] = Counter()
        self.counts: Counter[str] = Counter()
        self.faults: list[str] = []
        self.faulty = 0

    def fault(self, text: str) -> None:
        self.faulty += 1
        if len(self.faults) < KEPT:
            self.faults.append(text)

    def blame(self, texts: Iterable[str]) -> None:
        for text in texts:
            self.fault(text)
