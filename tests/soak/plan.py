"""What a soak does, and for how long."""

from dataclasses import dataclass, field
from enum import StrEnum

ROUND = 20.0
"""Seconds of abuse between two checkpoints: a slow head is given up after 10 s, a silent peer after 12 s, so
that each of them is seen through."""

HISTORY = 5000
"""Messages that a server keeps, which it never does: there are more bytes in them than it may keep."""

HISTORY_BYTES = 32 << 20
"""Bytes of them: what is said in twenty seconds, longer than a client is away. It is them that bound the
history, so that it has the same size whatever is said, and it is full before the first checkpoint: a history
that fills up looks like a leak."""

MAX_QUEUE = "256k"
"""Bytes that may wait for a client: little, so that a staller is soon cut, and more than a healthy client
lets wait whose machine is busy for some seconds."""

MAX_CONNECTIONS = 200
"""Clients of a process: few enough for a crowd to reach."""

PING = 6
"""Seconds of silence, and as many for the answer: a silent peer is cut within one round, and a stalled one is
not before its queue is full."""


class Change(StrEnum):
    """What takes the place of a process."""

    UPGRADE = "upgrade"
    DRAIN = "drain"
    KILL = "kill"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Lengths are in seconds, `rate` in messages a second.

    The processes of the first and of the last third of the rounds live through all of them, so that growth
    has time to show; in between each round has a change. Where there is none, a drain begins and is
    cancelled.
    """

    seconds: float = 600.0
    clients: int = 20
    redis: bool = False
    workers: int = 1
    seed: int = 0
    rate: float = 50.0
    history_bytes: int = HISTORY_BYTES
    changes: tuple[Change, ...] = field(default=())
    """One for each round of the middle third, over again when there are more rounds."""

    @property
    def rounds(self) -> int:
        """Enough for each of the changes."""
        least = len(set(self.changes)) + 2
        return max(least, 4, int(self.seconds // ROUND))

    @property
    def round_s(self) -> float:
        return self.seconds / self.rounds

    @property
    def window(self) -> float:
        """Over which clients leave a drain: `--reconnect-window`."""
        return min(5.0, max(1.0, self.round_s / 4))

    def change(self, number: int) -> Change | None:
        """What happens in a round, of which the first one has the number 0."""
        third = self.rounds // 3
        if not self.changes or not third <= number < self.rounds - third:
            return None
        return self.changes[(number - third) % len(self.changes)]

    def flags(self) -> tuple[str, ...]:
        """For `wsctl serve`."""
        return (
            *(
                "--history",
                str(HISTORY),
                "--history-bytes",
                str(self.history_bytes),
                "--max-queue",
                MAX_QUEUE,
            ),
            *("--max-connections", str(MAX_CONNECTIONS), "--broadcast-interval", "1"),
            *("--ping-interval", str(PING), "--ping-timeout", str(PING)),
            *("--reconnect-window", str(self.window), "--workers", str(self.workers)),
        )


def changes(workers: int) -> tuple[Change, ...]:
    """Each of those that there can be, and then a chain of upgrades: what one of them leaves behind is hard
    to tell from nothing, what four leave is not."""
    kills = (Change.KILL,) if workers > 1 else ()
    return (Change.UPGRADE, Change.DRAIN, *kills, *(Change.UPGRADE,) * 4)
