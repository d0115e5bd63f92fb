"""systemd's side of the notification protocol: a socket that hears what a server says."""

import socket
import time
from types import TracebackType

from tests.support.server import DEADLINE

Said = list[str]
"""The lines of one datagram."""


class Supervisor:
    """Listens on a path, or on `@name` in the abstract namespace."""

    def __init__(self, address: str) -> None:
        self.environ = {"NOTIFY_SOCKET": address}
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(f"\0{address[1:]}" if address.startswith("@") else address)

    def __enter__(self) -> "Supervisor":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def hear(self, deadline: float = DEADLINE) -> Said:
        """The next datagram, waited for. Raises `TimeoutError`."""
        self._socket.settimeout(deadline)
        return self._socket.recv(65536).decode().split("\n")

    def hear_one(self, line: str) -> Said:
        """The next datagram that has a line which begins so, waited for; what comes before it is skipped."""
        until = time.monotonic() + DEADLINE
        skipped = []
        while time.monotonic() < until:
            said = self.hear()
            if any(each.startswith(line) for each in said):
                return said
            skipped.append(said)
        raise AssertionError(f"no {line} in {skipped}")

    def heard(self) -> list[Said]:
        """Every datagram that is there already."""
        found = []
        while True:
            try:
                found.append(self.hear(0))
            except BlockingIOError:
                return found
