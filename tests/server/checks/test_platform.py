"""What runs a server, and when it warns of that at its start."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.server.checks.test_systemd import TOLD, program
from wsctl.server.checks import platform
from wsctl.server.checks.finding import fine
from wsctl.server.checks.look import look
from wsctl.server.checks.platform import around, killer, over_us, service_of_ours, too_short
from wsctl.server.checks.stopping import CONTAINER, KUBERNETES, Platform
from wsctl.server.checks.systemd import Unanswered, Unit
from wsctl.settings import Settings

IN_A_POD = {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}


def test_a_container_is_known_by_its_marks(tmp_path: Path) -> None:
    assert around({}, tmp_path, 7) is None
    (tmp_path / "run").mkdir()
    (tmp_path / "run/.containerenv").touch()
    assert around({}, tmp_path, 7) is CONTAINER
    assert around(IN_A_POD, tmp_path, 7) is KUBERNETES


def test_process_1_is_in_a_container_without_a_mark(tmp_path: Path) -> None:
    assert around({}, tmp_path, 1) is CONTAINER


def test_only_where_its_first_process_is_a_server_s_a_container_ends_with_it() -> None:
    assert over_us({}, 1) is CONTAINER
    assert over_us(IN_A_POD, 1) is KUBERNETES
    for first in ("wsctl", "uvicorn", "tini", "docker-init"):
        assert over_us(IN_A_POD, 7, lambda first=first: first) is KUBERNETES  # type: ignore[misc]
    for first in ("sh", "sleep", "systemd", ""):
        assert over_us(IN_A_POD, 7, lambda first=first: first) is None  # type: ignore[misc]


def test_the_service_that_this_process_is_in_is_asked_for(tmp_path: Path) -> None:
    fake = program(tmp_path / "systemctl", f"print({TOLD!r})")
    group = tmp_path / "cgroup"
    group.write_text("0::/system.slice/wsctl.service\n")
    unit = service_of_ours({"INVOCATION_ID": "1"}, group, fake)
    assert unit
    assert (unit.name, unit.stop) == ("wsctl.service", 90)
    assert service_of_ours({}, group, fake) is None
    assert service_of_ours({"INVOCATION_ID": "1"}, tmp_path / "none", fake) is None
    group.write_text("0::/user.slice/session-2.scope\n")
    assert service_of_ours({"INVOCATION_ID": "1"}, group, fake) is None


SIMPLE = Unit("wsctl.service", "simple", 90.0, "control-group", 7, None)


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
    return too_short(found, environ or {}, pid=7, over=lambda environ, pid: over, service=asked)


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

    meant = Settings(stop_timeout=timeout)
    told = killer(meant, environ, pid=7, over=lambda environ, pid: over, service=asked)
    logged = too_short(meant, environ, pid=7, over=lambda environ, pid: over, service=asked)
    assert logged == (f"{told.text}: {told.fix}" if told.level == "warning" else None)
    if not over and environ == IN_A_POD and not service and timeout is None:
        assert told.level == "unknown"


def test_check_asks_the_same_code(monkeypatch: pytest.MonkeyPatch) -> None:
    mark = fine("stop time", "asked")
    monkeypatch.setattr(platform, "killer", lambda *_: mark)
    assert next(look(Settings(port=0), {})) is mark


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
    other = Unit("wsctl.service", "simple", 90.0, "control-group", 8, None)
    assert warned(service=other) is None


def test_a_systemd_that_does_not_answer_is_not_spoken_of() -> None:
    assert warned(service=Unanswered("hung")) is None


@pytest.mark.parametrize("environ", [{}, {"INVOCATION_ID": "1"}])
def test_this_process_has_nothing_to_warn_of(environ: dict[str, str]) -> None:
    assert too_short(Settings(), environ) is None
