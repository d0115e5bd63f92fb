"""A server that its platform would kill in the middle of a drain says so, once."""

import sys

import pytest

from tests.conftest import StartServer
from tests.support.generations import Generations
from tests.support.server import ServerProcess

SHORT = {"WSCTL_STOP_TIMEOUT": "30"}
WARNING = "kills 30 s after SIGTERM, but a drain may last"


def warnings(server: ServerProcess) -> list[str]:
    return [line for line in server.lines if "after SIGTERM" in line]


def unasked(server: ServerProcess) -> list[str]:
    return [line for line in server.lines if "asks nobody to leave" in line]


def test_it_warns_once_and_not_again_after_an_upgrade(start_server: StartServer) -> None:
    server = Generations(start_server(env=SHORT))
    try:
        server.wait_until_serving(server.begin_upgrade().outcome()["successor"])
        (line,) = warnings(server.first)
        assert f"{WARNING} 1810 s: set " in line
        assert "1830" in line
        assert line.endswith("or --shutdown-timeout 15")
    finally:
        server.kill()


def test_several_workers_say_each_thing_once(start_server: StartServer) -> None:
    server = start_server("--workers", "2", env=SHORT)
    assert server.stop() == 0
    assert len(warnings(server)) == 1
    assert len(unasked(server)) == 1


@pytest.mark.parametrize("workers", ["1", "2"])
def test_so_does_the_guest(start_server: StartServer, workers: str) -> None:
    command = (sys.executable, "-m", "uvicorn", "wsctl.main:app", "--port", "0", "--workers", workers)
    server = start_server(command=command, serving=r"running on (\S+)", env=SHORT)
    server.wait_for_line(WARNING)
    server.stop()
    assert len(warnings(server)) == 1


@pytest.mark.parametrize("workers", [(), ("--workers", "2")], ids=["alone", "workers"])
def test_a_spread_that_is_longer_than_the_drain_is_warned_of_once(
    start_server: StartServer, workers: tuple[str, ...]
) -> None:
    server = start_server("--shutdown-timeout", "10", "--drain-spread", "20", *workers)
    assert server.stop() == 0
    told = [line for line in server.lines if "is longer than a drain" in line]
    assert len(told) == 1
    assert (
        "--drain-spread 20 is longer than a drain, and is cut short to 10 s: --shutdown-timeout 20" in told[0]
    )


def test_it_does_not_warn_where_there_is_time_or_nobody_kills(start_server: StartServer) -> None:
    for server in (start_server(), start_server("--stop-timeout", "1810")):
        assert server.stop() == 0
        assert server.complaints == []


@pytest.mark.parametrize(
    ("flags", "count"),
    [((), 1), (("--reconnect-window", "60"), 0)],
    ids=["alone", "asked"],
)
def test_a_server_that_will_ask_nobody_to_leave_says_so_once(
    start_server: StartServer, flags: tuple[str, ...], count: int
) -> None:
    server = start_server(*flags)
    assert server.stop() == 0
    told = unasked(server)
    assert len(told) == count
    assert all("INFO" in line and "--reconnect-window 60" in line for line in told)
