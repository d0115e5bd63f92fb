"""The ids that a log gave: one that was given is known though its message is gone."""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from wsctl.log.retention import MessageId

MOST_KNOWN = 262_144
"""Ids that are remembered, the newest: 4 MiB of them. At a thousand messages a second that is how far back
a client may have been away, and gets what is kept of quiet topics."""

Packed = tuple[bytes, bytes]
"""Ids for another process of the same machine: their milliseconds and their sequence numbers."""

_TYPE = "Q"
_SLACK = 4
"""The part of all by which there may be too many: the oldest go together."""


class KnownIds:
    """The newest ids of a log, `most` at least, in their order."""

    def __init__(self, most: int = MOST_KNOWN) -> None:
        self._most = most
        self._ms = array(_TYPE)
        self._sequences = array(_TYPE)

    def __len__(self) -> int:
        return len(self._ms)

    def __contains__(self, message_id: MessageId) -> bool:
        at = self._place(message_id)
        return at < len(self._ms) and (self._ms[at], self._sequences[at]) == message_id

    @property
    def newest(self) -> MessageId:
        return (self._ms[-1], self._sequences[-1]) if self._ms else (0, 0)

    def extend(self, ids: Sequence[MessageId]) -> None:
        """Add ids, which are in order; those that are not behind all others are passed over."""
        new = ids[bisect_right(ids, self.newest) :] if self._ms else ids
        self._ms.extend([ms for ms, _ in new])
        self._sequences.extend([sequence for _, sequence in new])
        self._forget()

    def extend_packed(self, ms: bytes, sequences: bytes) -> None:
        """Add ids that `packed` returned in another process of this machine.

        Raises:
            ValueError: they are no such bytes.
        """
        new = KnownIds()
        new._ms.frombytes(ms)
        new._sequences.frombytes(sequences)
        if len(new._ms) != len(new._sequences):
            raise ValueError("ids have two parts, and these have not")
        newest = self.newest
        first = new._place((newest[0], newest[1] + 1)) if self._ms else 0
        self._ms += new._ms[first:]
        self._sequences += new._sequences[first:]
        self._forget()

    def _forget(self) -> None:
        if len(self._ms) > self._most + self._most // _SLACK:
            del self._ms[: -self._most], self._sequences[: -self._most]

    def packed(self, together: int) -> list[Packed]:
        """Return all ids, `together` at a time, as `extend_packed` reads them."""
        return [
            (self._ms[at : at + together].tobytes(), self._sequences[at : at + together].tobytes())
            for at in range(0, len(self._ms), together)
        ]

    def _place(self, message_id: MessageId) -> int:
        """Return where an id is or would be."""
        ms, sequence = message_id
        first = bisect_left(self._ms, ms)
        return bisect_left(self._sequences, sequence, first, bisect_right(self._ms, ms, first))
