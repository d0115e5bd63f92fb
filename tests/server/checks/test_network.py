"""What proxies make of the settings."""

import pytest

from wsctl.server.checks.finding import Level
from wsctl.server.checks.network import SILENCE, keepalive, leaving, readiness, sharing
from wsctl.settings import Settings


@pytest.mark.parametrize(
    ("interval", "level"),
    [(0, "warning"), (20, "ok"), (SILENCE - 1, "ok"), (SILENCE, "warning"), (SILENCE + 1, "warning")],
)
def test_pings_come_before_proxies_cut(interval: float, level: str) -> None:
    assert keepalive(interval).level == level


def test_a_pod_needs_time_until_it_is_known_to_drain() -> None:
    without, given = readiness(Settings(), True), readiness(Settings(drain_delay=5), True)
    assert without
    assert given
    assert (without.level, given.level) == (Level.WARNING, Level.OK)
    assert readiness(Settings(), False) is None


def test_workers_without_a_store_are_islands() -> None:
    found = sharing(Settings(workers=2))
    assert found
    assert "--redis" in (found.fix or "")
    assert sharing(Settings(workers=2, redis="redis://x")) is None
    assert sharing(Settings()) is None


def test_by_default_nobody_is_asked_to_leave_which_is_an_advice_with_the_flags() -> None:
    found = leaving(Settings(shutdown_timeout=600))
    assert (found.level, found.text) == (
        Level.ADVICE,
        "a drain asks nobody to leave: who stays is closed by force after 600 s",
    )
    assert (found.fix or "").startswith("--drain-delay 15 --reconnect-window 60; 'wsctl docs deploy'")
    fix = leaving(Settings(), guest=True).fix or ""
    assert fix.startswith("WSCTL_DRAIN_DELAY=15 WSCTL_RECONNECT_WINDOW=60;")
    assert leaving(Settings(reconnect_window=60)).level is Level.OK
