"""The processes that have started this one: a predecessor, the parent of a worker, both or none."""

from collections.abc import Mapping

from wsctl.server.handover.protocol import InheritedSockets, receive_sockets
from wsctl.server.workers.protocol import WorkerContext, receive_worker_context


class Starters:
    """The starters of a process, each asked once what it passes, and told that the process cannot start."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._inherited: InheritedSockets | None = None
        self._worker: WorkerContext | None = None
        self._predecessor_asked = self._parent_asked = False

    def inherited(self) -> InheritedSockets | None:
        """Return what a predecessor passes to this process; None when it has none.

        Raises:
            CannotStart: the predecessor is gone, or of a version that is not understood here.
        """
        if not self._predecessor_asked:
            self._predecessor_asked = True
            self._inherited = receive_sockets(self._environ)
        return self._inherited

    def worker(self) -> WorkerContext | None:
        """Return what a parent passes to this process; None when it is no worker.

        Raises:
            CannotStart: the parent is gone, or of a version that is not understood here.
        """
        if not self._parent_asked:
            self._parent_asked = True
            self._worker = receive_worker_context(self._environ)
        return self._worker

    def refuse(self, why: str) -> bool:
        """Tell them why this process cannot start; return whether there is one of them, which logs it."""
        starters = [each for each in (self.inherited(), self.worker()) if each]
        for each in starters:
            each.refuse(why)
        return bool(starters)
