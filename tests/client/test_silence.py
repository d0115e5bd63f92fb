"""How long clients heard nothing."""

from hypothesis import given
from hypothesis import strategies as st

from wsctl.client.silence import Silence

CLIENTS = 3


@given(st.lists(st.tuples(st.integers(0, CLIENTS - 1), st.floats(0, 10)), max_size=30), st.floats(0, 10))
def test_it_is_the_longest_gap_of_any_client_with_the_ones_at_both_ends(
    steps: list[tuple[int, float]], last: float
) -> None:
    silence, now = Silence(CLIENTS), 100.0
    silence.begin(now)
    heard: list[list[float]] = [[now] for _ in range(CLIENTS)]
    for client, pause in steps:
        now += pause
        silence.hear(client, now)
        heard[client].append(now)
    now += last
    gaps = [b - a for times in heard for a, b in zip(times, [*times[1:], now], strict=True)]
    assert silence.longest(now) == max(gaps)
