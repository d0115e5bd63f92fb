"""What the processes of a site use, read at each checkpoint."""

from contextlib import suppress
from functools import partial

from tests.soak.gauge import Reading, read, use
from tests.soak.site import Site


class Meter:
    """Attributes:
    readings: of each process at each checkpoint, in order.
    peaks: what the process that speaks for the server used at most, whenever it was looked at.
    """

    def __init__(self, site: Site) -> None:
        self.readings: list[Reading] = []
        self.peaks = {"memory": 0, "files": 0}
        self._site = site
        self._chains: dict[str, tuple[int, int]] = {}

    def look(self) -> None:
        """Under abuse."""
        with suppress(OSError):  # another process is about to take its place
            now = use(self._site.pid)
            self.peaks["memory"] = max(self.peaks["memory"], now.memory)
            self.peaks["files"] = max(self.peaks["files"], now.files)

    def measure(self, upgraded: bool) -> list[Reading]:
        """In a quiet moment; `upgraded` says whether there was an upgrade since the last one."""
        rows = self._site.workers()
        each = [("parent" if rows else "server", self._site.pid)]
        each += [(f"worker {row['number']}", row["pid"]) for row in rows]
        status = self._site.server.status
        found = [
            read(role, self._chain(role, pid, upgraded), pid, partial(status, pid)) for role, pid in each
        ]
        self.readings += found
        return found

    def _chain(self, role: str, pid: int, upgraded: bool) -> int:
        """A process that is new took over from the one before it in an upgrade only: a worker is also started
        anew when it was killed, or had nobody left in a drain that was then cancelled."""
        chain, last = self._chains.get(role, (0, 0))
        if pid != last and not (upgraded and chain):
            chain += 1
        self._chains[role] = chain, pid
        return chain
