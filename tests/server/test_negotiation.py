"""What a client would rather have."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsctl.server.negotiation import Preference, preference


@pytest.mark.parametrize(
    ("accept", "weight", "named"),
    [
        ("", 1, False),
        ("text/plain", 1, True),
        ("text/plain;q=0.5", 0.5, True),
        ("text/plain;version=0.0.4;q=0.5", 0.5, True),
        ("TEXT/PLAIN ; Q = 0.25", 0.25, True),
        ("text/plain;q=0, */*", 0, True),
        ("*/*;q=0.3, text/*;q=0.2", 0.2, False),
        ("*/*;q=0.3, image/*", 0.3, False),
        ("image/png", 0, False),
        ("text/plain;q=0.1, text/plain;version=1;q=0.7", 0.7, True),
        ("text/plain;q=2, */*;q=0.1", 0.1, False),
        ("text/plain;q=nan", 0, False),
    ],
)
def test_the_closest_range_tells_how_much_a_kind_is_wanted(accept: str, weight: float, named: bool) -> None:
    assert preference(accept, "text/plain") == Preference(weight, named)


@given(st.text(st.sampled_from("aq/*=;., 019-\t\x00\xff"), max_size=30))
def test_any_header_is_read(accept: str) -> None:
    assert 0 <= preference(accept, "a/a").weight <= 1
