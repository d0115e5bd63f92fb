"""Which time to stop is too short for a drain."""

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsctl.codes import CLOSE_TIMEOUT
from wsctl.server.checks.finding import Level
from wsctl.server.checks.stopping import (
    CONTAINER,
    HEADROOM,
    KUBERNETES,
    LAST_SECONDS,
    by_platform,
    by_unit,
    for_guest,
    longest_drain,
    time_to_ask_for,
)
from wsctl.server.checks.systemd import Unit
from wsctl.server.workers.overdue import GRACE
from wsctl.settings import Settings

SIMPLE = Unit("x.service", "simple", 90.0, "control-group", 7, None)


def test_a_drain_lasts_for_its_delay_its_timeout_and_the_closing_handshakes() -> None:
    assert longest_drain(Settings()) == 1800 + CLOSE_TIMEOUT
    assert longest_drain(Settings(drain_delay=15, shutdown_timeout=60)) == 75 + CLOSE_TIMEOUT
    assert longest_drain(Settings(workers=2)) == 1800 + CLOSE_TIMEOUT + GRACE


def test_waiting_for_a_turn_makes_no_drain_longer() -> None:
    assert longest_drain(Settings(redis="redis://x", max_draining=1)) == longest_drain(Settings())


@pytest.mark.parametrize(("leaves", "level"), [(69, "warning"), (70, "ok"), (71, "ok")])
def test_it_is_enough_from_the_longest_drain_on(leaves: float, level: str) -> None:
    assert by_platform(Settings(shutdown_timeout=60, stop_timeout=leaves), KUBERNETES).level == level


def test_what_is_not_told_is_the_platform_s_default() -> None:
    kubernetes, docker = (by_platform(Settings(), platform) for platform in (KUBERNETES, CONTAINER))
    assert kubernetes.text.startswith("Kubernetes kills 30 s after SIGTERM unless it was told otherwise")
    assert "kills 10 s after SIGTERM" in docker.text
    fits = Settings(shutdown_timeout=20)
    assert by_platform(fits, KUBERNETES).level is Level.OK
    assert by_platform(fits, CONTAINER).level is Level.WARNING


def test_the_fix_names_what_to_set_or_the_drain_that_fits() -> None:
    found = by_platform(Settings(stop_timeout=30), KUBERNETES)
    assert found.text == "Kubernetes kills 30 s after SIGTERM, but a drain may last 1810 s"
    asked = "terminationGracePeriodSeconds: 1830 and WSCTL_STOP_TIMEOUT=1830"
    assert found.fix == f"set {asked}, or --shutdown-timeout 15"


def test_no_drain_is_proposed_where_none_fits() -> None:
    found = by_platform(Settings(stop_timeout=CLOSE_TIMEOUT + LAST_SECONDS), None)
    assert "--shutdown-timeout" not in (found.fix or "")


@given(st.integers(0, 7200), st.integers(0, 60), st.integers(1, 3), st.floats(0, 9000, allow_nan=False))
def test_what_a_fix_says_mends_it(timeout: int, delay: int, workers: int, leaves: float) -> None:
    def look(timeout: float, leaves: float) -> tuple[Level, str]:
        settings = Settings(shutdown_timeout=timeout, drain_delay=delay, workers=workers, stop_timeout=leaves)
        found = by_platform(settings, None)
        return found.level, found.fix or ""

    level, fix = look(timeout, leaves)
    if level is Level.WARNING:
        asked = time_to_ask_for(Settings(shutdown_timeout=timeout, drain_delay=delay, workers=workers))
        assert str(asked) in fix
        assert look(timeout, asked)[0] is Level.OK
        *_, fits = fix.rpartition("--shutdown-timeout ")
        if "--shutdown-timeout" in fix:
            assert look(float(fits), leaves)[0] is Level.OK


def test_where_nothing_kills_all_is_well() -> None:
    found = by_platform(Settings(), None)
    assert found.level is Level.OK
    assert "1810 s" in found.text


@pytest.mark.parametrize("kind", ["notify", "notify-reload"])
def test_a_unit_that_hears_of_a_drain_leaves_it_its_time(kind: str) -> None:
    unit = Unit("x.service", kind, 1.0, "control-group", 7, None)
    assert by_unit(Settings(), unit).level is Level.OK


def test_any_other_unit_kills_in_the_middle_of_it() -> None:
    found = by_unit(Settings(), SIMPLE)
    assert found.text.startswith("systemd (x.service) kills 90 s after SIGTERM, but")
    assert "Type=notify" in (found.fix or "")
    assert f"TimeoutStopSec={1810 + HEADROOM:.0f}" in (found.fix or "")
    assert by_unit(Settings(shutdown_timeout=80), SIMPLE).level is Level.OK


def test_a_guest_is_told_what_it_knows() -> None:
    found = by_unit(Settings(), SIMPLE)
    assert for_guest(f"{found.fix}") == "set TimeoutStopSec=1830, or WSCTL_SHUTDOWN_TIMEOUT=75"


def test_a_unit_without_an_end_never_kills() -> None:
    assert by_unit(Settings(), Unit("x", "simple", inf, "mixed", 7, None)).level is Level.OK


def test_a_unit_that_tells_nobody_begins_no_drain() -> None:
    found = by_unit(Settings(), Unit("x", "notify", inf, "none", 7, None))
    assert found.level is Level.WARNING
    assert "KillMode" in (found.fix or "")
