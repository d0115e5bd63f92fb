"""A leak is found in a series, and noise is not."""

from dataclasses import replace
from typing import Any

import pytest

from tests.soak.gauge import Reading
from tests.soak.growth import ENOUGH, TOLERANCES, WARM_UP, Tolerance, across, changes, within

MIB = 1 << 20
BY_NAME = {tolerance.what: tolerance for tolerance in TOLERANCES}


def reading(chain: int = 1, pid: int = 7, role: str = "server", **uses: Any) -> Reading:
    return replace(Reading(role, chain, pid, 50 * MIB, 15, 6, 1), **uses)


def grown(readings: list[Reading]) -> list[str]:
    return [change.text for change in changes(readings) if change.judged is False]


def test_a_descriptor_left_behind_in_each_round_is_found() -> None:
    assert grown([reading(files=15 + n) for n in range(10)]) == [
        "files of server, start 1, generation 1: 17 -> 23"
    ]


def test_tasks_threads_and_memory_that_grow_are_found() -> None:
    leaks = [reading(tasks=6 + 2 * n, threads=1 + n, memory=(50 + 4 * n) * MIB) for n in range(10)]
    assert [text.split(" of ")[0] for text in grown(leaks)] == ["memory", "tasks", "threads"]


def test_growth_that_ends_with_the_warm_up_is_none() -> None:
    assert grown([reading(memory=30 * MIB, files=3), *[reading() for _ in range(9)]]) == []


def test_one_reading_out_of_line_is_no_growth() -> None:
    series = [reading() for _ in range(10)]
    series[8] = reading(files=90, memory=400 * MIB)
    assert grown(series) == []


def test_a_life_that_is_too_short_is_not_judged() -> None:
    short = [float(n * 100) for n in range(WARM_UP + ENOUGH - 1)]
    assert within(short, BY_NAME["files"], "it").judged is None
    assert within([*short, 1000.0], BY_NAME["files"], "it").judged is False
    assert within([1.0], BY_NAME["files"], "it").judged is None


def test_each_process_is_judged_for_itself() -> None:
    first = [reading(pid=1, files=15) for _ in range(5)]
    second = [reading(chain=2, pid=2, files=40) for _ in range(5)]
    assert grown([*first, *second]) == []


def test_what_each_generation_leaves_to_the_next_is_found() -> None:
    chain = [reading(pid=n, files=15 + n) for n in range(5)]
    assert grown(chain) == ["files of server, start 1, all 5 generations: 15 -> 19"]


def test_a_chain_ends_with_a_cold_start() -> None:
    assert grown([reading(chain=n, pid=n, files=15 + 10 * n) for n in range(5)]) == []


def test_a_process_that_does_not_tell_its_tasks_is_judged_by_the_rest() -> None:
    parents = [reading(role="parent", tasks=None, files=15 + n) for n in range(9)]
    assert [change.what for change in changes(parents)] == ["memory", "files", "threads"]
    assert len(grown(parents)) == 1


@pytest.mark.parametrize("tolerance", TOLERANCES, ids=lambda tolerance: tolerance.what)
def test_what_is_tolerated_is_just_so_much(tolerance: Tolerance) -> None:
    first = 100.0 if tolerance.share == 0 else 10 * tolerance.amount / tolerance.share
    most = max(tolerance.amount, tolerance.share * first)
    assert across([first, first, first + most], tolerance, "it").judged is True
    assert across([first, first, first + most + 1], tolerance, "it").judged is False
    assert across([first, first, 0.0], tolerance, "it").judged is True
    assert across([first, first + most + 1], tolerance, "it").judged is None
    assert tolerance.why
