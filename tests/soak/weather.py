"""Which endings the operator is to blame for."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Weather:
    """What the operator does, as spells in which connections may end with codes that are else a fault.

    Attributes:
        forgets: whether it is a spell behind which no server knows what was said before it.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._spells: list[list[float]] = []
        self._codes: list[frozenset[int]] = []
        self.forgets = False

    @contextmanager
    def spell(self, *codes: int, forgets: bool = False) -> Iterator[None]:
        """From here to the end of the block; one at a time."""
        times = [self._clock(), math.inf]
        self._spells.append(times)
        self._codes.append(frozenset(codes))
        self.forgets = forgets
        try:
            yield
        finally:
            self.forgets = False
            times[1] = self._clock()

    def excuses(self, code: int, since: float) -> bool:
        """Whether a spell with that code lies between a moment and now, at least in part."""
        pairs = zip(self._spells, self._codes, strict=True)
        return any(code in codes and ended >= since for (_, ended), codes in pairs)

    def fair(self, since: float) -> bool:
        """Whether there was none at all since then."""
        return all(ended < since for _, ended in self._spells)
