"""The platform that runs a server: whether it is a container, and how tight its limits are."""

import sys
from math import inf
from pathlib import Path

import pytest

from wsctl.server.diagnostics.platform import (
    CONTAINER,
    KUBERNETES,
    NoSystemd,
    Unanswered,
    Unit,
    container_around,
    container_of_server,
    memory_limit,
    own_service,
    parse_timespan,
    process_limit,
    query_unit,
    unit_in,
)

IN_A_POD = {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}


def test_a_container_is_known_by_its_marks(tmp_path: Path) -> None:
    assert container_around({}, tmp_path, 7) is None
    (tmp_path / "run").mkdir()
    (tmp_path / "run/.containerenv").touch()
    assert container_around({}, tmp_path, 7) is CONTAINER
    assert container_around(IN_A_POD, tmp_path, 7) is KUBERNETES


def test_process_1_is_in_a_container_without_a_mark(tmp_path: Path) -> None:
    assert container_around({}, tmp_path, 1) is CONTAINER


def test_only_where_its_first_process_is_a_server_s_a_container_ends_with_it() -> None:
    assert container_of_server({}, 1) is CONTAINER
    assert container_of_server(IN_A_POD, 1) is KUBERNETES
    for first in ("wsctl", "uvicorn", "tini", "docker-init"):
        assert container_of_server(IN_A_POD, 7, lambda first=first: first) is KUBERNETES  # type: ignore[misc]
    for first in ("sh", "sleep", "systemd", ""):
        assert container_of_server(IN_A_POD, 7, lambda first=first: first) is None  # type: ignore[misc]


def tree(root: Path, **files: str) -> Path:
    """Files of a control group; `__` is a slash in their names."""
    for name, text in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def group(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "self"
    path.write_text(text)
    return path


def test_the_tightest_limit_of_a_group_and_those_around_it_counts(tmp_path: Path) -> None:
    root = tree(tmp_path / "fs")
    for name, text in [
        ("a/memory.max", "1000\n"),
        ("a/b.service/memory.max", "2000\n"),
        ("pids.max", "max\n"),
    ]:
        tree(root, **{name: text})
    own = group(tmp_path, "0::/a/b.service\n")
    assert memory_limit(own, root) == 1000
    assert process_limit(own, root) is None


def test_inside_a_container_the_root_is_its_own_group(tmp_path: Path) -> None:
    root = tree(tmp_path / "fs", **{"memory.max": "4096", "pids.max": "100"})
    for text in ("0::/\n", "0::/docker/abc\n"):
        own = group(tmp_path, text)
        assert (memory_limit(own, root), process_limit(own, root)) == (4096, 100)


def test_version_1_has_a_folder_for_each_controller(tmp_path: Path) -> None:
    files = {"memory/x/memory.limit_in_bytes": "5000", "memory/memory.limit_in_bytes": str((1 << 63) - 4096)}
    root = tree(tmp_path / "fs", **files, **{"pids/x/pids.max": "64"})
    own = group(tmp_path, "9:name=systemd:/\n5:memory:/x\n4:cpu,pids:/x\n")
    assert (memory_limit(own, root), process_limit(own, root)) == (5000, 64)
    (root / "memory/x/memory.limit_in_bytes").unlink()
    assert memory_limit(own, root) is None


@pytest.mark.parametrize("text", [None, "", "nonsense\n", "1:2\n"])
def test_where_nothing_is_told_there_is_no_limit(tmp_path: Path, text: str | None) -> None:
    own = tmp_path / "none" if text is None else group(tmp_path, text)
    assert memory_limit(own, tmp_path) is None


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
        query_unit("x", systemctl=fake, patience=0.2 if "sleep" in body else 20.0, booted=tmp_path)
    assert str(failure.value) == why


def test_a_machine_without_systemd_has_none(tmp_path: Path) -> None:
    with pytest.raises(NoSystemd, match="there is no systemd"):
        query_unit("x", systemctl=str(tmp_path / "systemctl"))
    fake = program(tmp_path / "systemctl", "sys.exit(1)")
    with pytest.raises(NoSystemd, match="systemd does not run"):
        query_unit("x", systemctl=fake, booted=tmp_path / "none")


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
