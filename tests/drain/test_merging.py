"""The drains of several workers as one."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsctl.drain.merging import cut_short, merged
from wsctl.drain.phases import Phase
from wsctl.drain.progress import LONGEST, ConnectedClient, DrainProgress

SUMMED = (
    "started_with",
    "active",
    "left",
    "evicted",
    "forced",
    "aborted",
    "undelivered",
    "handed_over",
)

ORDER = [Phase.LAMEDUCK, Phase.DRAINING, Phase.CLOSING, Phase.STOPPED]

counts = st.integers(0, 10_000)
seconds = st.floats(0, 1e6)


@st.composite
def drains(draw: st.DrawFn) -> DrainProgress:
    """One worker's drain, as it could stand."""
    active = draw(counts)
    stays = st.builds(ConnectedClient, st.text("abc", min_size=1, max_size=3), seconds, counts)
    longest = draw(st.lists(stays, max_size=min(active, LONGEST)))
    longest.sort(key=lambda client: -client.connected_s)
    return DrainProgress(
        phase=draw(st.sampled_from(ORDER)),
        reason=draw(st.sampled_from(["SIGTERM", "requested"])),
        cancellable=draw(st.booleans()),
        started_with=active + draw(counts),
        active=active,
        elapsed_s=draw(seconds),
        remaining_s=draw(seconds),
        left=draw(counts),
        evicted=draw(counts),
        forced=draw(counts),
        aborted=draw(counts),
        undelivered=draw(counts),
        oldest=longest[0].client_id if longest else None,
        handed_over=draw(counts),
        eta_s=draw(st.none() | seconds),
        longest=tuple(longest),
    )


several = st.lists(drains(), min_size=1, max_size=5)


@given(drains())
def test_one_drain_is_itself(drain: DrainProgress) -> None:
    assert merged([drain]) == (drain if drain.active else replace(drain, eta_s=None))


@given(several)
def test_counts_are_sums_and_times_the_longest(parts: list[DrainProgress]) -> None:
    whole = merged(parts)
    for name in SUMMED:
        assert getattr(whole, name) == sum(getattr(part, name) for part in parts), name
    assert whole.elapsed_s == max(part.elapsed_s for part in parts)
    going = [part for part in parts if part.phase is not Phase.STOPPED]
    if going:
        assert whole.remaining_s == max(part.remaining_s for part in going)
    else:
        assert whole.remaining_s == min(part.remaining_s for part in parts)
    assert whole.cancellable == all(part.cancellable for part in going or parts)


@given(several)
def test_the_phase_is_that_of_the_last_to_reach_it(parts: list[DrainProgress]) -> None:
    whole = merged(parts)
    assert all(ORDER.index(part.phase) >= ORDER.index(whole.phase) for part in parts)
    assert whole.phase in {part.phase for part in parts}


@given(several)
def test_those_who_are_there_longest_are_the_oldest_of_all(parts: list[DrainProgress]) -> None:
    whole = merged(parts)
    stays = sorted((client.connected_s for part in parts for client in part.longest), reverse=True)
    assert [client.connected_s for client in whole.longest] == stays[:LONGEST]
    assert whole.oldest == (whole.longest[0].client_id if whole.longest else None)


@given(several)
def test_the_last_leaves_when_the_last_of_the_slowest_leaves(parts: list[DrainProgress]) -> None:
    etas = [part.eta_s for part in parts if part.active]
    known = [eta for eta in etas if eta is not None]
    expected = max(known) if known and len(known) == len(etas) else None
    assert merged(parts).eta_s == expected


@given(several, st.randoms())
def test_the_order_of_the_workers_does_not_matter(parts: list[DrainProgress], random: object) -> None:
    parts = [replace(part, reason="SIGTERM") for part in parts]
    other = list(parts)
    random.shuffle(other)  # type: ignore[attr-defined]
    one, two = merged(parts), merged(other)
    # Of two who came at the same moment either may be named first.
    assert replace(one, longest=(), oldest=None) == replace(two, longest=(), oldest=None)


@given(drains())
def test_who_is_killed_in_a_drain_takes_its_clients_along(drain: DrainProgress) -> None:
    end = cut_short(drain)
    assert end.phase is Phase.STOPPED
    if drain.phase is Phase.STOPPED:
        assert end == drain
    else:
        assert (end.active, end.oldest, end.longest, end.eta_s) == (0, None, (), None)
        assert end.aborted == drain.aborted + drain.active


def test_there_is_no_sum_of_nothing() -> None:
    with pytest.raises(IndexError):
        merged([])


@given(drains(), drains())
def test_once_all_have_stopped_the_last_says_how_much_time_was_left(
    one: DrainProgress, other: DrainProgress
) -> None:
    at_once = replace(one, phase=Phase.STOPPED, remaining_s=1800.0)
    last = replace(other, phase=Phase.STOPPED, remaining_s=1798.0)
    assert merged([at_once, last]).remaining_s == 1798.0
    assert merged([at_once, replace(other, phase=Phase.DRAINING, remaining_s=3.0)]).remaining_s == 3.0
