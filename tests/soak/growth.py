"""Whether something grows that should not. No I/O."""

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TypeVar

from tests.soak.gauge import Reading

K = TypeVar("K", bound=Hashable)

WARM_UP = 1
"""Readings at the beginning of a process's life that are not judged: caches fill, pools open."""

ENOUGH = 3
"""Readings behind the warm-up, or generations, without which there is no judgement: what a successor needs to
receive everything is not yet growth."""


@dataclass(frozen=True)
class Tolerance:
    """What may be more at the end than at the beginning, for a reason: an amount, or a share of what there
    was, whichever is more."""

    what: str
    amount: float
    share: float
    why: str

    def allows(self, first: float, last: float) -> bool:
        return last - first <= max(self.amount, self.share * first)


TOLERANCES = (
    Tolerance(
        "memory", 6 << 20, 0.10, "an allocator keeps what the worst moment needed, and that comes late"
    ),
    Tolerance("files", 2, 0.0, "a pool may open one more connection when two ask at one moment"),
    Tolerance("tasks", 3, 0.0, "one request, and what serves it, may be under way at each look"),
    Tolerance("threads", 2, 0.0, "a pool starts one when it has none that is idle"),
)


@dataclass(frozen=True)
class Change:
    """From the first to the last plateau of a series; `judged` is None when it is too short to tell."""

    where: str
    what: str
    readings: int
    first: float
    last: float
    judged: bool | None

    @property
    def text(self) -> str:
        return f"{self.what} of {self.where}: {self.first:,.0f} -> {self.last:,.0f}"


def within(values: Sequence[float], tolerance: Tolerance, where: str) -> Change:
    """The life of one process: the middle of its first third behind the warm-up, against that of its last."""
    rest = values[WARM_UP:] or values
    third = max(1, len(rest) // 3)
    first, last = median(rest[:third]), median(rest[-third:])
    judged = tolerance.allows(first, last) if len(rest) >= ENOUGH and rest is not values else None
    return Change(where, tolerance.what, len(values), first, last, judged)


def across(values: Sequence[float], tolerance: Tolerance, where: str) -> Change:
    """One chain of processes that took over from each other, by the first reading of each."""
    judged = tolerance.allows(values[0], values[-1]) if len(values) >= ENOUGH else None
    return Change(where, tolerance.what, len(values), values[0], values[-1], judged)


def changes(readings: Sequence[Reading]) -> list[Change]:
    """All of them: of every process, and of every chain with more than one."""
    chains = _grouped(readings, lambda one: (one.chain, one.role))
    return [
        change for (start, role), chain in chains for change in _of_chain(f"{role}, start {start}", chain)
    ]


def _of_chain(name: str, chain: Sequence[Reading]) -> Iterator[Change]:
    lives = [life for _, life in _grouped(chain, lambda one: one.pid)]
    for tolerance in TOLERANCES:
        for number, life in enumerate(lives, 1):
            if values := _values(life, tolerance.what):
                yield within(values, tolerance, f"{name}, generation {number}")
        firsts = _values([life[0] for life in lives], tolerance.what)
        if len(firsts) > 1:
            yield across(firsts, tolerance, f"{name}, all {len(lives)} generations")


def _values(readings: Iterable[Reading], what: str) -> list[float]:
    return [value for one in readings if (value := getattr(one, what)) is not None]


def _grouped(readings: Iterable[Reading], key: Callable[[Reading], K]) -> list[tuple[K, list[Reading]]]:
    """Those with equal keys together, in the order of the first of each."""
    groups: dict[K, list[Reading]] = {}
    for one in readings:
        groups.setdefault(key(one), []).append(one)
    return list(groups.items())
