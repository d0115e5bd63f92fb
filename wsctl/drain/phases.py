"""The phases of a server's life, as a table."""

import logging
from enum import StrEnum

log = logging.getLogger("wsctl.life")


class Phase(StrEnum):
    """The phases of a server's life."""

    STARTING = "starting"
    SERVING = "serving"
    LAMEDUCK = "lameduck"
    """About to drain: not ready any more, and everything else as before."""
    HANDOVER = "handover"
    """A successor is being started, or takes over."""
    DRAINING = "draining"
    CLOSING = "closing"
    STOPPED = "stopped"


ACCEPTING = frozenset({Phase.STARTING, Phase.SERVING, Phase.LAMEDUCK, Phase.HANDOVER})
"""The phases in which new clients are taken."""

SHUTTING_DOWN = frozenset({Phase.DRAINING, Phase.CLOSING, Phase.STOPPED})
"""The phases in which clients are to connect to another server."""

MOVES: dict[Phase, frozenset[Phase]] = {
    Phase.STARTING: frozenset({Phase.SERVING, Phase.STOPPED}),
    Phase.SERVING: frozenset({Phase.LAMEDUCK, Phase.DRAINING, Phase.HANDOVER}),
    # Back to serving when it is cancelled; straight to closing when the operator forces.
    Phase.LAMEDUCK: frozenset({Phase.SERVING, Phase.DRAINING, Phase.CLOSING}),
    # Back to serving when there is no successor after all.
    Phase.HANDOVER: frozenset({Phase.SERVING, Phase.DRAINING}),
    # Back to serving when a drain is cancelled; straight to stopped when the last client has left.
    Phase.DRAINING: frozenset({Phase.SERVING, Phase.CLOSING, Phase.STOPPED}),
    Phase.CLOSING: frozenset({Phase.STOPPED}),
    Phase.STOPPED: frozenset(),
}


class IllegalMove(RuntimeError):
    """A move that the table does not have: a bug, not a condition."""


class PhaseMachine:
    """The one holder of the phase."""

    def __init__(self) -> None:
        self.phase = Phase.STARTING

    def move(self, to: Phase) -> None:
        """Go to a phase.

        Raises:
            IllegalMove: the table has no such move.
        """
        if to not in MOVES[self.phase]:
            raise IllegalMove(f"{self.phase} -> {to}")
        log.debug("phase", extra={"fields": {"was": self.phase, "now": to}})
        self.phase = to
