"""What came out of a run, and whether that is good."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.soak import growth
from tests.soak.gauge import Reading
from tests.soak.plan import Change, Plan
from tests.soak.tally import Tally
from wsctl.stress.timing import Quantiles

ABSURD = 30.0
"""Seconds that one in a hundred messages may take: how long depends on the machine, this on none."""

DONE = (
    "churner",
    "replacer",
    "resetter",
    "mute",
    "staller",
    "flooder",
    "knocker",
    "loris",
    "crowd",
    "abuser",
)
"""Each of them must have acted, else a verdict says nothing about it."""

SAID = ("publisher", "speaker", "operator: cancelled drain")

OPERATED = {
    Change.UPGRADE: "operator: upgrade",
    Change.DRAIN: "operator: drain",
    Change.KILL: "operator: kill -9",
}


@dataclass(frozen=True)
class Outcome:
    """The facts of a run. `peaks` are what the process that speaks for the server used at most."""

    plan: Plan
    seconds: float
    tally: Tally
    readings: Sequence[Reading]
    peaks: Mapping[str, int]
    latency: Quantiles | None

    @property
    def changes(self) -> list[growth.Change]:
        return growth.changes(self.readings)

    @property
    def reasons(self) -> list[str]:
        """Why it failed; empty when it passed."""
        return [*self._faults(), *self._grown(), *self._slow(), *self._undone()]

    @property
    def passed(self) -> bool:
        return not self.reasons

    def _faults(self) -> list[str]:
        more = self.tally.faulty - len(self.tally.faults)
        return [*self.tally.faults, *([f"and {more} more faults"] if more else [])]

    def _grown(self) -> list[str]:
        return [f"grown: {change.text}" for change in self.changes if change.judged is False]

    def _slow(self) -> list[str]:
        if self.latency is None:
            return ["no latency was measured"]
        slow = self.latency.p99 > ABSURD
        return [f"one in a hundred messages took {self.latency.p99:.1f} s or more"] if slow else []

    def _undone(self) -> list[str]:
        wanted = [*DONE, *SAID, *(OPERATED[change] for change in dict.fromkeys(self.plan.changes))]
        never = [f"never done: {name}" for name in wanted if not self.tally.acts[name]]
        return never if self.readings else [*never, "nothing was measured"]
