"""Whether the parts of a drain fit into it."""

import pytest

from wsctl.server.checks.finding import Level
from wsctl.server.checks.pace import check
from wsctl.settings import Settings


@pytest.mark.parametrize(
    ("part", "flag"), [("drain_spread", "--drain-spread"), ("reconnect_window", "--reconnect-window")]
)
def test_what_is_longer_than_the_drain_is_warned_of(part: str, flag: str) -> None:
    (found,) = check(Settings(shutdown_timeout=10, **{part: 20.0}))
    assert found.level is Level.WARNING
    assert found.text == f"{flag} 20 is longer than a drain, and is cut short to 10 s"
    assert found.fix == f"--shutdown-timeout 20, or {flag} 10"


def test_what_fits_is_not_worth_a_word() -> None:
    assert not list(check(Settings()))
    assert not list(check(Settings(shutdown_timeout=10, drain_spread=10, reconnect_window=10)))


def test_a_guest_is_told_of_variables() -> None:
    (found,) = check(Settings(shutdown_timeout=10, drain_spread=20), guest=True)
    assert found.text.startswith("WSCTL_DRAIN_SPREAD=20 is longer")
    assert found.fix == "WSCTL_SHUTDOWN_TIMEOUT=20, or WSCTL_DRAIN_SPREAD=10"
