"""How far a node is behind the log that all share, as far as it can know."""

from wsctl.hub.history import MessageId


class Lag:
    """Each sign of life tells the newest id there is. How old the oldest one is that was not read here,
    nobody tells, so time is measured from when one was known to be there until it was read.

    Attributes:
        newest: the log's newest id, as it was heard of last.
    """

    def __init__(self) -> None:
        self.newest: MessageId = (0, 0)
        self._mark: MessageId = (0, 0)
        self._since = 0.0

    def heard(self, newest: MessageId, seen: MessageId, now: float) -> None:
        """The log's newest id is `newest`, `seen` was read last; `now` is seconds on the caller's clock."""
        self.newest = newest
        if seen >= self._mark or newest < self._mark:  # the second when Redis has lost what it had
            self._mark, self._since = newest, now

    def seconds(self, seen: MessageId, now: float) -> float:
        """For how long something has been known that was not read."""
        return 0.0 if seen >= self._mark else now - self._since
