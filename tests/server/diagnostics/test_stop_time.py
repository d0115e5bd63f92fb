"""Which time to stop is too short for a drain."""

from dataclasses import replace
from math import inf
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsctl.codes import CLOSE_TIMEOUT
from wsctl.server.checks import run_checks
from wsctl.server.diagnostics import stop_time
from wsctl.server.diagnostics.finding import Level, ok
from wsctl.server.diagnostics.platform import CONTAINER, KUBERNETES, Platform, Unanswered, Unit
from wsctl.server.diagnostics.stop_time import (
    HEADROOM,
    LAST_SECONDS,
    WORKER_GRACE,
    check_own_platform,
    check_platform,
    check_unit,
    longest_drain,
    recommended_stop_time,
    reworded_for_embedded,
    stop_time_warning,
)
from wsctl.settings import Settings

IN_A_POD = {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}

SIMPLE = Unit("x.service", "simple", 90.0, "control-group", 7, None)


def test_a_drain_lasts_for_its_delay_its_timeout_and_the_closing_handshakes() -> None:
    assert longest_drain(Settings()) == 1800 + CLOSE_TIMEOUT
    assert longest_drain(Settings(drain_delay=15, shutdown_timeout=60)) == 75 + CLOSE_TIMEOUT
    assert longest_drain(Settings(workers=2)) == 1800 + CLOSE_TIMEOUT + WORKER_GRACE


def test_waiting_for_a_turn_makes_no_drain_longer() -> None:
    assert longest_drain(Settings(redis="redis://x", max_draining=1)) == longest_drain(Settings())


@pytest.mark.parametrize(("leaves", "level"), [(69, "warning"), (70, "ok"), (71, "ok")])
def test_it_is_enough_from_the_longest_drain_on(leaves: float, level: str) -> None:
    assert check_platform(Settings(shutdown_timeout=60, stop_timeout=leaves), KUBERNETES).level == level


def test_what_is_not_told_is_the_platform_s_default() -> None:
    kubernetes, docker = (check_platform(Settings(), platform) for platform in (KUBERNETES, CONTAINER))
    assert kubernetes.text.startswith("Kubernetes kills 30 s after SIGTERM unless it was told otherwise")
    assert "kills 10 s after SIGTERM" in docker.text
    fits = Settings(shutdown_timeout=20)
    assert check_platform(fits, KUBERNETES).level is Level.OK
    assert check_platform(fits, CONTAINER).level is Level.WARNING


def test_the_fix_names_what_to_set_or_the_drain_that_fits() -> None:
    found = check_platform(Settings(stop_timeout=30), KUBERNETES)
    assert found.text == "Kubernetes kills 30 s after SIGTERM, but a drain may last 1810 s"
    asked = "terminationGracePeriodSeconds: 1830 and WSCTL_STOP_TIMEOUT=1830"
    assert found.fix == f"set {asked}, or --shutdown-timeout 15"


def test_no_drain_is_proposed_where_none_fits() -> None:
    found = check_platform(Settings(stop_timeout=CLOSE_TIMEOUT + LAST_SECONDS), None)
    assert "--shutdown-timeout" not in (found.fix or "")


@given(st.integers(0, 7200), st.integers(0, 60), st.integers(1, 3), st.floats(0, 9000, allow_nan=False))
def test_what_a_fix_says_mends_it(timeout: int, delay: int, workers: int, leaves: float) -> None:
    def look(timeout: float, leaves: float) -> tuple[Level, str]:
        settings = Settings(shutdown_timeout=timeout, drain_delay=delay, workers=workers, stop_timeout=leaves)
        found = check_platform(settings, None)
        return found.level, found.fix or ""

    level, fix = look(timeout, leaves)
    if level is Level.WARNING:
        asked = recommended_stop_time(Settings(shutdown_timeout=timeout, drain_delay=delay, workers=workers))
        assert str(asked) in fix
        assert look(timeout, asked)[0] is Level.OK
        *_, fits = fix.rpartition("--shutdown-timeout ")
        if "--shutdown-timeout" in fix:
            assert look(float(fits), leaves)[0] is Level.OK


def test_where_nothing_kills_all_is_well() -> None:
    found = check_platform(Settings(), None)
    assert found.level is Level.OK
    assert "1810 s" in found.text


@pytest.mark.parametrize("kind", ["notify", "notify-reload"])
def test_a_unit_that_hears_of_a_drain_leaves_it_its_time(kind: str) -> None:
    unit = Unit("x.service", kind, 1.0, "control-group", 7, None)
    assert check_unit(Settings(), unit).level is Level.OK


def test_any_other_unit_kills_in_the_middle_of_it() -> None:
    found = check_unit(Settings(), SIMPLE)
    assert found.text.startswith("systemd (x.service) kills 90 s after SIGTERM, but")
    assert "Type=notify" in (found.fix or "")
    assert f"TimeoutStopSec={1810 + HEADROOM:.0f}" in (found.fix or "")
    assert check_unit(Settings(shutdown_timeout=80), SIMPLE).level is Level.OK


def test_an_application_under_another_server_is_told_what_it_knows() -> None:
    found = check_unit(Settings(), SIMPLE)
    assert reworded_for_embedded(f"{found.fix}") == "set TimeoutStopSec=1830, or WSCTL_SHUTDOWN_TIMEOUT=75"


def test_a_unit_without_an_end_never_kills() -> None:
    assert check_unit(Settings(), Unit("x", "simple", inf, "mixed", 7, None)).level is Level.OK


def test_a_unit_that_tells_nobody_begins_no_drain() -> None:
    found = check_unit(Settings(), Unit("x", "notify", inf, "none", 7, None))
    assert found.level is Level.WARNING
    assert "KillMode" in (found.fix or "")


def warned(
    environ: dict[str, str] | None = None,
    over: Platform | None = None,
    service: Unit | Unanswered | None = None,
    **settings: float,
) -> str | None:
    """What a server with pid 7 would log."""

    def asked(environ: object) -> Unit | None:
        if isinstance(service, Unanswered):
            raise service
        return service

    found = Settings(**settings)  # type: ignore[arg-type]
    return stop_time_warning(found, environ or {}, pid=7, container=lambda environ, pid: over, service=asked)


def test_nothing_is_said_where_nothing_kills() -> None:
    assert warned() is None


@pytest.mark.parametrize("over", [None, CONTAINER, KUBERNETES])
@pytest.mark.parametrize("service", [None, SIMPLE, replace(SIMPLE, main_pid=8), Unanswered("hung")])
@pytest.mark.parametrize("environ", [{}, IN_A_POD, {"NOTIFY_SOCKET": "/run/x"}])
@pytest.mark.parametrize("timeout", [None, 30.0, 1e6])
def test_check_and_serve_say_the_same(
    over: Platform | None, service: Any, environ: dict[str, str], timeout: float | None
) -> None:
    def asked(environ: object) -> Unit | None:
        if isinstance(service, Unanswered):
            raise service
        return service  # type: ignore[no-any-return]

    settings = Settings(stop_timeout=timeout)
    told = check_own_platform(settings, environ, pid=7, container=lambda environ, pid: over, service=asked)
    logged = stop_time_warning(settings, environ, pid=7, container=lambda environ, pid: over, service=asked)
    assert logged == (f"{told.text}: {told.fix}" if told.level == "warning" else None)
    if not over and environ == IN_A_POD and not service and timeout is None:
        assert told.level == "unknown"


def test_check_asks_the_same_code(monkeypatch: pytest.MonkeyPatch) -> None:
    mark = ok("stop time", "asked")
    monkeypatch.setattr(stop_time, "check_own_platform", lambda *_: mark)
    assert next(run_checks(Settings(port=0), {})) is mark


def test_what_was_told_is_believed() -> None:
    assert "kills 30 s after SIGTERM, but a drain may last 1810 s: set " in (warned(stop_timeout=30) or "")
    assert warned(stop_timeout=1810) is None
    assert warned(over=CONTAINER, stop_timeout=1810) is None


def test_the_default_of_a_container_is_assumed() -> None:
    assert "kills 10 s" in (warned(over=CONTAINER) or "")
    assert "kills 30 s" in (warned(over=KUBERNETES) or "")
    assert warned(over=KUBERNETES, shutdown_timeout=20) is None


def test_a_service_warns_only_where_systemd_does_not_hear_of_drains() -> None:
    assert "TimeoutStopSec=1830" in (warned(service=SIMPLE) or "")
    assert warned({"NOTIFY_SOCKET": "/run/x"}, service=SIMPLE) is None


def test_another_process_of_a_service_does_not_warn() -> None:
    other = Unit("x.service", "simple", 90.0, "control-group", 8, None)
    assert warned(service=other) is None


def test_a_systemd_that_does_not_answer_is_not_spoken_of() -> None:
    assert warned(service=Unanswered("hung")) is None


@pytest.mark.parametrize("environ", [{}, {"INVOCATION_ID": "1"}])
def test_this_process_has_nothing_to_warn_of(environ: dict[str, str]) -> None:
    assert stop_time_warning(Settings(), environ) is None
