"""A journal as operators see it: in the status, health, metrics and `wsctl journal`, of one process and of
workers."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.conftest import StartServer
from tests.support.cluster import publish, refused, wait_for
from tests.support.generations import Generations
from tests.support.scrapes import scraped
from tests.support.server import ServerProcess, wsctl

PROCESSES = pytest.mark.parametrize("workers", [(), ("--workers", "2")], ids=["one process", "workers"])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.db"


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """While another program has the file for writing."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")


def shown(server: ServerProcess, *words: str) -> str:
    done = wsctl(*words, environ=dict(server.environ))
    assert (done.returncode, done.stderr) == (0, "")
    return str(done.stdout)


@PROCESSES
def test_status_metrics_and_the_command_tell_of_the_journal(
    start_server: StartServer, path: Path, workers: tuple[str, ...]
) -> None:
    server = start_server("--broadcast-interval", "0", "--journal", str(path), *workers)
    for number in range(3):
        receipt = publish(server, number)
    facts = wait_for(server, lambda facts: facts["journal"]["bytes"] > 0)["journal"]
    assert (facts["path"], facts["sync"], facts["state"], facts["why"]) == (str(path), "full", "up", None)
    assert facts["waiting"] == 0
    found = scraped(server)
    assert found("wsctl_journal_up") == 1
    assert found("wsctl_journal_committed_messages_total") == 3
    commits = found("wsctl_journal_commit_duration_seconds_count")
    assert commits is not None
    assert 1 <= commits <= 3
    assert found("wsctl_journal_bytes") == facts["bytes"]
    assert f"  journal      {path}, " in shown(server, "status")
    told = json.loads(shown(server, "journal", "--verify", "--json"))
    assert (told["path"], told["sync"], told["pid"]) == (str(path), "full", server.pid)
    assert (told["messages"], told["newest"]["id"], told["sound"]) == (3, receipt["id"], True)
    assert "  sync      full" in shown(server, "journal", str(path))


def test_a_relative_path_is_told_whole(start_server: StartServer, tmp_path: Path) -> None:
    server = start_server("--journal", "log.db", "--journal-sync", "normal", cwd=tmp_path)
    told = json.loads(shown(server, "journal", "--json"))
    assert (told["path"], told["sync"]) == (str(tmp_path / "log.db"), "normal")


def test_a_server_without_a_journal_has_none_to_show(start_server: StartServer) -> None:
    server = start_server()
    done = wsctl("journal", environ=dict(server.environ))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"wsctl: {server.url} has no journal: name the file of one\n"
    assert server.status()["journal"] is None


@PROCESSES
def test_a_journal_that_cannot_be_written_degrades_the_server_until_it_can(
    start_server: StartServer, path: Path, workers: tuple[str, ...]
) -> None:
    server = start_server("--broadcast-interval", "0", "--journal", str(path), *workers)
    publish(server, "before")
    with locked(path):
        refused(server, "meanwhile")
        why = "another program has locked it"
        facts = wait_for(server, lambda facts: why in (facts["degraded"] or ""))
        assert (facts["journal"]["state"], facts["journal"]["why"]) == ("away", why)
        code, health = server.http("GET", "/health")
        assert (code, health["degraded"]) == (200, True)
        assert server.http("GET", "/health/ready")[0] == 200
        found = scraped(server)
        assert found("wsctl_journal_up") == 0
        assert found("wsctl_journal_away_seconds") is not None
        text = shown(server, "status")
        assert "serving, degraded" in text
        assert "away for 0:" in text
        assert why in text
    wait_for(server, lambda facts: facts["degraded"] is None and facts["journal"]["state"] == "up")
    publish(server, "after")
    assert server.http("GET", "/health")[1]["degraded"] is False
    assert scraped(server)("wsctl_journal_up") == 1


def test_the_journal_goes_on_in_an_upgrade_as_it_is_told(start_server: StartServer, path: Path) -> None:
    server = start_server("--broadcast-interval", "0", "--journal", str(path))
    generations = Generations(server)
    publish(server, "before")
    try:
        assert generations.upgrade()["state"] == "done"
        assert generations.status()["journal"]["state"] == "up"
        told = json.loads(shown(server, "journal", "--verify", "--json"))
        assert (told["messages"], told["sound"], told["sync"]) == (1, True, "full")
        assert told["pid"] == generations.pid
        shown(server, "broadcast", "after")
        assert json.loads(shown(server, "journal", str(path), "--json"))["messages"] == 2
    finally:
        generations.kill()
