"""The balance of accepted connections between workers: each sees how many the others have, and can wait.

The kernel gives a new connection to whichever process asks first: on a busy machine one gets ten times as
many as another. So a worker that has more than the others lets them go first for a moment.
"""

import mmap
import os
import struct
import tempfile

SLACK = 4
"""Connections that a worker may always have more than the one that has the fewest."""

TOLERANCE = 0.05
"""The share of the fewest connections of a worker that another one may have more, besides `SLACK`: evenness
has a price, in pauses."""

AT_LEAST = 8
"""Connections that a worker takes between two pauses: another one that hangs, and so takes none, must not
keep the rest from taking them."""

PAUSE = 0.005
"""Seconds of a pause: a worker that waits for a core gets one within it, and takes dozens."""

_COUNT = struct.Struct("=I")
_ABSENT = 0xFFFFFFFF


class AcceptBalancer:
    """The counts of all workers on a page of memory, which is a file without a name. `number` is the worker's
    own place, from 1."""

    def __init__(self, fd: int, number: int = 0) -> None:
        self._page = mmap.mmap(fd, 0)
        self._number = number
        self._since = 0

    def set_count(self, mine: int) -> None:
        """Write down the number of connections that this worker has."""
        self._put(self._number, mine)

    def withdraw(self, number: int | None = None) -> None:
        """Mark a worker that takes no connections, this one unless another is named: nobody waits for it."""
        self._put(self._number if number is None else number, _ABSENT)

    def count_accepted(self, mine: int) -> bool:
        """Note that one more connection was taken and this worker has `mine` now. Returns whether the others
        should have the next ones."""
        self.set_count(mine)
        self._since += 1
        least = min(count for (count,) in _COUNT.iter_unpack(self._page[:]))
        if self._since < AT_LEAST or mine <= least * (1 + TOLERANCE) + SLACK:
            return False
        self._since = 0
        return True

    def close(self) -> None:
        self._page.close()

    def _put(self, number: int, count: int) -> None:
        _COUNT.pack_into(self._page, _COUNT.size * (number - 1), count)


def create_page(count: int) -> int:
    """Return the descriptor of a page for `count` workers, of whom none is there yet."""
    with tempfile.TemporaryFile() as file:
        file.write(_COUNT.pack(_ABSENT) * count)
        file.flush()
        return os.dup(file.fileno())
