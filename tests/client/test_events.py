"""Which events are the end."""

import pytest

from wsctl.client.events import (
    Closed,
    ConnectFailed,
    Event,
    HandshakeRefused,
    Moved,
    Opened,
    Received,
    Waiting,
    is_final,
)


@pytest.mark.parametrize(
    "event",
    [
        Closed(4500, ""),
        Closed(4999, ""),
        HandshakeRefused(403, "", ""),
        ConnectFailed("no wsctl server", final=True),
    ],
)
def test_what_would_be_the_same_again_is_final(event: Event) -> None:
    assert is_final(event)


@pytest.mark.parametrize(
    "event",
    [
        Closed(1000, ""),
        Closed(1006, ""),
        Closed(4499, ""),
        Moved(),
        HandshakeRefused(503, "", ""),
        ConnectFailed("later"),
        Opened({}),
        Received({}),
        Waiting(1),
    ],
)
def test_nothing_else_is(event: Event) -> None:
    assert not is_final(event)


@pytest.mark.parametrize(
    ("opened", "recovered", "gap"),
    [
        (Opened({}), False, False),
        (Opened({"recovered": True}), False, False),
        (Opened({"recovered": True}, since="0-1"), True, False),
        (Opened({"recovered": False}, since="0-1"), False, True),
        (Opened({}, since="0-1"), False, True),
    ],
)
def test_only_who_resumes_recovers_or_has_a_gap(opened: Opened, recovered: bool, gap: bool) -> None:
    assert (opened.recovered, opened.gap) == (recovered, gap)
