"""The lag of a node behind the shared log, as far as the node can know it."""

from wsctl.log.history import MessageId


class Lag:
    """The time for which an entry has been known to be in the log and was not read here.

    Each beat tells the log's newest id, but not how old the oldest entry is that was not read. So time is
    measured from when an entry was known to be there until it was read.

    Attributes:
        newest: the log's newest id, as it was last learned.
    """

    def __init__(self) -> None:
        self.newest: MessageId = (0, 0)
        self._mark: MessageId = (0, 0)
        self._since = 0.0

    def heard(self, newest: MessageId, seen: MessageId, now: float) -> None:
        """Note that the log's newest id is `newest` and that `seen` was read last; `now` is seconds on the
        caller's clock."""
        self.newest = newest
        if seen >= self._mark or newest < self._mark:  # the second when Redis has lost what it had
            self._mark, self._since = newest, now

    def seconds(self, seen: MessageId, now: float) -> float:
        """Return for how many seconds an entry has been known that was not read."""
        return 0.0 if seen >= self._mark else now - self._since
