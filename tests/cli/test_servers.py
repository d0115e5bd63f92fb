"""Several servers: asked at once, their clients listed, and `wsctl status --watch` during a handover."""

import json
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, cast

import pytest

from tests.support.fake_control import URL, FakeControl, announced_fake
from tests.support.processes import popen
from tests.support.server import DEADLINE, WSCTL, wsctl
from tests.support.status import SHARED, from_second, node
from tests.support.terminal import Terminal
from wsctl.cli.servers import ask_all, each_client_once
from wsctl.client.control import Control
from wsctl.errors import Silent, Unreachable

HANDED_OVER = {
    "state": "done",
    "successor": 2,
    "total": 10,
    "moved": 9,
    "staying": 1,
    "elapsed_s": 1.0,
    "silence_s": 0.081,
    "error": None,
}

OTHER = "http://127.0.0.1:9000"


class Servers:
    """Fakes that come and go."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running: dict[int, ExitStack] = {}

    def start(self, pid: int, generation: int = 1, url: str = URL, **facts: Any) -> FakeControl:
        stack = self._running[pid] = ExitStack()
        return stack.enter_context(announced_fake(self._folder, pid, generation, url, **facts))

    def end(self, pid: int) -> None:
        """Its socket and its record are gone when this returns."""
        self._running.pop(pid).close()

    def end_all(self) -> None:
        for pid in list(self._running):
            self.end(pid)


@pytest.fixture
def servers(runtime_dir: Path) -> Iterator[Servers]:
    made = Servers(runtime_dir)
    yield made
    made.end_all()


class Watching:
    """`wsctl status --watch` on pipes."""

    def __init__(self, environ: dict[str, str]) -> None:
        pipe = subprocess.PIPE
        command = [*WSCTL, "status", "--watch"]
        self.process = popen(command, env=environ, stdout=pipe, stderr=pipe, text=True)
        self._watchdog = threading.Timer(DEADLINE, self.process.kill)
        self._watchdog.start()

    def line(self, start: str) -> str:
        """The next line that starts so."""
        assert self.process.stdout
        told = next((row for row in self.process.stdout if row.startswith(start)), None)
        assert told is not None, f"no line starts with {start!r}"
        return told

    def end(self) -> tuple[int, str]:
        """Exit code, and what was said on stderr."""
        said = self.process.communicate(timeout=DEADLINE)[1]
        return self.process.returncode, said

    def close(self) -> None:
        self._watchdog.cancel()
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def watch(environ: dict[str, str]) -> Iterator[Callable[[], Watching]]:
    with ExitStack() as stack:

        def start() -> Watching:
            watching = Watching(environ)
            stack.callback(watching.close)
            return watching

        yield start


def test_a_server_that_appears_is_watched_too(servers: Servers, watch: Callable[[], Watching]) -> None:
    servers.start(1)
    watching = watch()
    watching.line(f"{URL} serving: ")
    servers.start(2, url=OTHER)
    watching.line(f"{OTHER} serving: ")
    watching.line(f"{URL} serving: ")


def test_the_watch_goes_on_with_the_successor(servers: Servers, watch: Callable[[], Watching]) -> None:
    servers.start(1)
    watching = watch()
    watching.line(f"{URL} serving: ")
    # Between two looks the old process takes a successor and ends.
    servers.start(2, generation=2)
    servers.end(1)
    watching.line(f"{URL} generation 2 serving: ")
    servers.end(2)
    code, said = watching.end()
    first, second = said.splitlines()
    assert first == f"wsctl: {URL} has handed over and is gone"
    assert second.startswith(f"wsctl: {URL} is gone, and was not draining: ")
    assert code == 5


def test_a_server_that_told_of_its_handover_has_handed_over(
    servers: Servers, watch: Callable[[], Watching]
) -> None:
    servers.start(1, status="draining", upgrade=HANDED_OVER)
    watching = watch()
    told = watching.line(f"{URL} generation 1 draining: ")
    assert "; upgrade moved 9, draining 1 in the old process, longest silence 81 ms (pid 2 serves)" in told
    servers.end(1)
    assert watching.end() == (0, f"wsctl: {URL} has handed over and is gone\n")


def test_a_server_that_is_gone_during_its_handover_was_not_draining(
    servers: Servers, watch: Callable[[], Watching]
) -> None:
    servers.start(1, status="handover")
    servers.start(2, url=OTHER, generation=2, status="draining")
    watching = watch()
    watching.line(f"{URL} handover: ")
    watching.line(f"{OTHER} generation 2 draining: ")
    servers.end(1)
    servers.end(2)
    code, said = watching.end()
    assert code == 5
    assert f"wsctl: {URL} is gone, and was not draining: " in said
    assert f"wsctl: {OTHER} has drained and is gone\n" in said


def test_both_generations_are_shown_and_told_apart(servers: Servers, environ: dict[str, str]) -> None:
    servers.start(1, status="draining", upgrade=HANDED_OVER)
    servers.start(2, generation=2)
    rows = [row.rstrip() for row in wsctl("status", environ=environ).stdout.splitlines()]
    assert rows[:2] == [f"{URL}  pid 1, generation 1, wsctl 0.1.0", "  phase        draining"]
    second = rows.index(f"{URL}  pid 2, generation 2, wsctl 0.1.0")
    assert rows[second + 1] == "  phase        serving"
    told = "moved 9, draining 1 in the old process, longest silence 81 ms (pid 2 serves)"
    assert f"  upgrade      {told}" in rows[:second]
    as_json = wsctl("status", "--json", environ=environ).stdout.splitlines()
    assert [json.loads(row)["generation"] for row in as_json] == [1, 2]


def test_an_upgrade_moves_on_the_screen(servers: Servers, environ: dict[str, str]) -> None:
    server = servers.start(1)
    terminal = Terminal([*WSCTL, "status", "--watch"], environ, columns=80)
    try:
        assert "upgrade" not in terminal.wait_for("phase        serving")
        server.facts |= {"status": "handover", "upgrade": HANDED_OVER | {"state": "moving"}}
        shown = terminal.wait_for("  upgrade      moving: 9 of 10 moved, elapsed 0:01")
        assert "phase        handover" in shown
    finally:
        terminal.close()


def test_crowds_leave_room_for_the_upgrade(servers: Servers, environ: dict[str, str]) -> None:
    row = {"address": "", "connected_s": 1.0, "waiting_bytes": 0}
    clients = [row | {"client_id": f"c{n}"} for n in range(100)]
    # Its reason takes three lines.
    failed = HANDED_OVER | {"state": "failed", "error": "because " * 20}
    servers.start(1, clients=clients, upgrade=failed)
    terminal = Terminal([*WSCTL, "status", "--watch", "--clients"], environ, columns=80, lines=24)
    try:
        shown = terminal.wait_for(lambda text: "more" in text)
        assert "  phase  " in shown
    finally:
        terminal.close()


def test_a_cluster_on_this_machine_fits_the_screen_and_its_nodes_stand_once(
    servers: Servers, environ: dict[str, str]
) -> None:
    rows = [{"client_id": "bob", "address": None, "connected_s": 1.0, "waiting_bytes": None, "node": "x"}]
    found = [node(1, node=f"{n:08}", pid=n, this=n == 0) for n in range(30)]
    facts = SHARED | {"nodes": found, "clients": rows * 30}
    facts.pop("pid")
    servers.start(1, url=URL, **facts)
    servers.start(2, url=OTHER, **from_second(facts))
    once = wsctl("status", environ=environ)
    assert (once.returncode, once.stdout.count("alpha:29 ")) == (0, 1)
    assert once.stdout.count("3 nodes, 900 clients") == 2
    terminal = Terminal([*WSCTL, "status", "--watch", "--clients"], environ, columns=80, lines=36)
    try:
        shown = terminal.wait_for(lambda text: text.count("more") == 2)
        assert shown.count("  phase        serving") == 2
        assert shown.count("alpha:0 ") == 1
        assert shown.count("  node  ") == 1
    finally:
        terminal.close()


# Asked at once


class Named:
    """As much of a `Control` as is asked here."""

    def __init__(self, name: str) -> None:
        self.name = self.process = name


def controls(*names: str) -> list[Control]:
    return [cast(Control, Named(name)) for name in names]


def test_one_that_hangs_is_named_and_does_not_keep_the_answers_of_the_others() -> None:
    over = threading.Event()

    def ask(control: Control) -> dict[str, Any]:
        if control.name == "hangs":
            over.wait(DEADLINE)
        return {"of": control.name}

    first, silent, last = ask_all(controls("a", "hangs", "b"), ask)
    over.set()
    assert (first, last) == ({"of": "a"}, {"of": "b"})
    assert isinstance(silent, Silent)
    assert str(silent).startswith("hangs does not answer")


def test_when_none_has_answered_all_are_waited_for() -> None:
    def ask(control: Control) -> dict[str, Any]:
        raise Unreachable(f"{control.name} is gone")

    assert [str(told) for told in ask_all(controls("a", "b"), ask)] == ["a is gone", "b is gone"]


def test_a_fault_of_ours_is_not_waited_for_without_end() -> None:
    def ask(control: Control) -> dict[str, Any]:
        raise RuntimeError(control.name)

    with pytest.raises(RuntimeError, match="a"):
        ask_all(controls("a"), ask)


def test_answers_are_in_the_order_of_the_questions() -> None:
    turn = threading.Event()

    def ask(control: Control) -> dict[str, Any]:
        turn.wait() if control.name == "a" else turn.set()
        return {"of": control.name}

    assert ask_all(controls("a", "b"), ask) == [{"of": "a"}, {"of": "b"}]


# Clients of several servers


def row(name: str, node: str | None) -> dict[str, Any]:
    return {"client_id": name} | ({"node": node} if node else {})


def server(own: str | None, *rows: dict[str, Any]) -> dict[str, Any]:
    nodes = [{"node": node, "this": node == own} for node in ("a", "b", "c")] if own else None
    return {"pid": own, "nodes": nodes, "clients": list(rows)}


def listed(*seen: dict[str, Any]) -> list[list[str]]:
    return [[client["client_id"] for client in facts["clients"]] for facts in each_client_once(seen)]


def test_a_client_is_listed_by_its_own_server() -> None:
    rows = row("ann", "a"), row("bob", "b"), row("eve", "c")
    assert listed(server("a", *rows), server("b", *rows)) == [["ann", "eve"], ["bob"]]


def test_servers_that_share_nothing_list_what_they_have() -> None:
    assert listed(server(None, row("ann", None)), server(None, row("ann", None))) == [["ann"], ["ann"]]


def test_where_no_clients_are_asked_for_nothing_changes() -> None:
    assert list(each_client_once([{"pid": 1}])) == [{"pid": 1}]
