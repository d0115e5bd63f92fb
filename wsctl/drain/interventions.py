"""The interventions of operators in a drain: the record of what was done."""

from dataclasses import dataclass
from enum import StrEnum


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
