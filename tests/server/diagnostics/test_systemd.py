"""What systemd tells of a unit, and every way in which it does not."""

import sys
from math import inf
from pathlib import Path

import pytest

from wsctl.server.diagnostics.systemd import (
    Unanswered,
    Unit,
    own_service,
    parse_timespan,
    query_unit,
    unit_in,
)

TOLD = """\
Type=simple
TimeoutStopUSec=1min 30s
KillMode=mixed
MainPID=4712
LimitNOFILE=524288
LoadState=loaded
"""


def program(path: Path, body: str) -> str:
    """A systemctl of a test's own."""
    path.write_text(f"#!{sys.executable}\nimport sys, time\n{body}\n")
    path.chmod(0o755)
    return str(path)


def test_a_unit_is_read(tmp_path: Path) -> None:
    fake = program(tmp_path / "systemctl", f"print({TOLD!r}, end='')")
    assert query_unit("x.service", systemctl=fake) == Unit("x.service", "simple", 90.0, "mixed", 4712, 524288)


def test_a_user_s_own_systemd_is_asked_where_that_is_meant(tmp_path: Path) -> None:
    told = f"if '--user' in sys.argv and sys.argv[-1] == 'x.service': print({TOLD!r}, end='')"
    fake = program(tmp_path / "systemctl", told)
    assert query_unit("x.service", user=True, systemctl=fake).main_pid == 4712
    with pytest.raises(Unanswered, match=r"systemd has no unit x\.service"):
        query_unit("x.service", systemctl=fake)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("print('LoadState=not-found')", "systemd has no unit x (not-found)"),
        ("sys.exit('Failed to connect\\nto bus')", "systemctl: Failed to connect to bus"),
        ("sys.exit(4)", "systemctl: exit code 4"),
        ("time.sleep(60)", "systemctl did not answer within 0.2 s"),
    ],
)
def test_what_it_does_not_tell_is_said_in_one_line(tmp_path: Path, body: str, why: str) -> None:
    fake = program(tmp_path / "systemctl", body)
    with pytest.raises(Unanswered) as failure:
        query_unit("x", systemctl=fake, patience=0.2 if "sleep" in body else 20.0)
    assert str(failure.value) == why


def test_a_machine_without_systemd_has_none(tmp_path: Path) -> None:
    with pytest.raises(Unanswered, match="No such file"):
        query_unit("x", systemctl=str(tmp_path / "systemctl"))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1min 30s", 90),
        ("5s", 5),
        ("500ms", 0.5),
        ("2h 1min 1s 5ms", 7261.005),
        ("1w 1d", 691200),
        ("infinity", inf),
        ("", inf),
        ("soon", inf),
    ],
)
def test_times_are_read_as_systemd_prints_them(text: str, seconds: float) -> None:
    assert parse_timespan(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("cgroup", "unit"),
    [
        ("0::/system.slice/wsctl.service\n", ("wsctl.service", False)),
        ("12:pids:/x\n1:name=systemd:/system.slice/wsctl.service\n0::/\n", ("wsctl.service", False)),
        ("0::/system.slice/wsctl.service/inner\n", ("wsctl.service", False)),
        ("0::/user.slice/user-7.slice/user@7.service/app.slice/a.service\n", ("a.service", True)),
        ("0::/user.slice/user-7.slice/user@7.service/tmux-spawn-1.scope\n", None),
        ("0::/user.slice/user-7.slice/session-2.scope\n", None),
        ("0::/user.slice/user-7.slice/user@7.service\n", None),
        ("0::/\n", None),
        ("4:memory:/system.slice/wsctl.service\n", None),
        ("nonsense", None),
        ("", None),
    ],
)
def test_a_process_knows_its_service(cgroup: str, unit: tuple[str, bool] | None) -> None:
    assert unit_in(cgroup) == unit


def test_the_service_that_this_process_is_in_is_asked_for(tmp_path: Path) -> None:
    fake = program(tmp_path / "systemctl", f"print({TOLD!r})")
    group = tmp_path / "cgroup"
    group.write_text("0::/system.slice/wsctl.service\n")
    unit = own_service({"INVOCATION_ID": "1"}, group, fake)
    assert unit
    assert (unit.name, unit.stop) == ("wsctl.service", 90)
    assert own_service({}, group, fake) is None
    assert own_service({"INVOCATION_ID": "1"}, tmp_path / "none", fake) is None
    group.write_text("0::/user.slice/session-2.scope\n")
    assert own_service({"INVOCATION_ID": "1"}, group, fake) is None
