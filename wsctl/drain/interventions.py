"""The interventions of operators in a drain: what a signal means, and the record of what was done."""

from dataclasses import dataclass
from enum import Enum, StrEnum, auto
from signal import SIGINT

FORCE_AFTER = 1.0
"""Seconds after the first signal from which SIGINT means force. A person needs longer to decide, and to see
what the first one did."""

SAME_KEY = 0.1
"""The time within which one Ctrl-C arrives several times, in seconds, where more than one process passes it
on; nobody presses it twice so fast."""


class SignalMeaning(Enum):
    """The meaning of a signal."""

    BEGIN = auto()
    """Begin the drain."""
    TOO_SOON = auto()
    """Force, but before anybody could have seen what the first one did."""
    FORCE = auto()
    """End all connections now."""
    NOTHING = auto()
    """Nothing new: this was asked for already."""


class SignalReader:
    """Reads the signals that end one server."""

    def __init__(self) -> None:
        self._first: float | None = None
        self._last_key = float("-inf")

    def read(self, signum: int, now: float) -> SignalMeaning:
        repeated = signum == SIGINT and now - self._last_key < SAME_KEY
        if signum == SIGINT:
            self._last_key = now
        if self._first is None:
            self._first = now
            return SignalMeaning.BEGIN
        if signum != SIGINT or repeated:
            return SignalMeaning.NOTHING
        return SignalMeaning.FORCE if now - self._first >= FORCE_AFTER else SignalMeaning.TOO_SOON


class InterventionKind(StrEnum):
    """The kinds of interventions, in the words of the log."""

    BEGUN = "the drain was begun"
    LATER = "the drain begins when the handover has ended"
    FINAL = "the drain cannot be cancelled any more"
    MOVED = "drain deadline moved"
    CANCELLED = "drain cancelled"
    FORCED = "all clients are closed now"
    CUT = "all connections are cut now"
    TOO_SOON = "Ctrl-C again to close everybody now"


@dataclass(frozen=True, slots=True)
class Intervention:
    """One step that an operator has caused. `by` is the way on which it came: a signal's name, the control
    socket, or the token and from where. `was_s` and `is_s` are the seconds to the deadline before and after,
    None where there was none."""

    kind: InterventionKind
    by: str
    was_s: float | None = None
    is_s: float | None = None
