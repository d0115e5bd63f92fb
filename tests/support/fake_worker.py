"""Workers of a parent under test that are no processes: what they say and when they end is the test's."""

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.support.other_end import OtherEnd
from wsctl.ipc.framing import Packet

FACTS: dict[str, Any] = {
    "status": "serving",
    "connections": 0,
    "uptime_s": 1.0,
    "version": "0.1.0",
    "pid": 1,
    "closing": 0,
    "capacity": 100,
    "newest_id": "1-0",
    "messages": {"published": 0},
    "rates": {"published": 0.0},
    "drain": None,
    "upgrade": None,
    "degraded": None,
    "redis": None,
    "nodes": None,
    "cluster": None,
}


class FakeWorker:
    """As much of a `Popen` as a parent needs, and the worker's end of the channel. To be made on a running
    loop."""

    def __init__(self, pid: int, channel: int, predecessor: int | None) -> None:
        self.pid = pid
        self.predecessor = None if predecessor is None else os.fstat(predecessor).st_ino
        self.code: int | None = None
        self.end = OtherEnd(socket.socket(fileno=os.dup(channel)))
        self.facts = dict(FACTS)

    def poll(self) -> int | None:
        return self.code

    def send_signal(self, signum: int) -> None:
        self.dies(-signum)

    def dies(self, code: int = -signal.SIGKILL) -> None:
        """It ends; its parent must still be told that one did."""
        self.code = code
        self.end.dispose()

    def serves(self) -> None:
        self.end.say("listening")
        self.reports()

    def reports(self, exit_code: int = 0, **facts: Any) -> None:
        self.facts |= facts
        self.end.say("report", facts=self.facts, exit_code=exit_code)

    async def asked(self, method: str, path: str) -> int:
        """The number of the next question, which must be this one."""
        packet: Packet = await self.end.hear("ask")
        assert (packet.fields["method"], packet.fields["path"]) == (method, path)
        return int(packet.fields["n"])

    def answers(self, n: int, status: int, /, **body: Any) -> None:
        self.end.say("answer", n=n, status=status, body=body)


class FakeWorkers:
    """Spawns them. `made` are all there were, oldest first."""

    def __init__(self) -> None:
        self.made: list[FakeWorker] = []

    def spawn(self, channel: int, predecessor: int | None) -> Any:
        self.made.append(FakeWorker(1001 + len(self.made), channel, predecessor))
        return self.made[-1]

    def dispose(self) -> None:
        for worker in self.made:
            worker.end.dispose()


@contextmanager
def fake_workers() -> Iterator[FakeWorkers]:
    found = FakeWorkers()
    try:
        yield found
    finally:
        found.dispose()
