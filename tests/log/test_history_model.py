"""What is kept and what a client is told of it, against a model that takes every rule by its word."""

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.support import frames
from tests.support.entries import Delivered
from tests.support.log_model import Addressees, LogModel, Said
from tests.support.sizes import examples
from wsctl import messages
from wsctl.frame import Batch
from wsctl.log.message_log import MessageLog, read_id, written

NAMES = ("bob", "eve")
TOPICS = (None, None, "a", "a.b", "a.c", "b.c", "b.c.d")
PATTERNS = ("a", "b", "a.b", "a.*", "*.c", "b.>", ">")
NEVER_GIVEN = ("1-1", "999999999999-0", "x", "0-0")

SETS = st.sets(st.sampled_from(PATTERNS), max_size=3).map(sorted)
ADDRESSEES = st.sampled_from([None, None, None, ("bob",), ("eve", "bob"), ("ann",)])


class LogAndModel(RuleBasedStateMachine):
    """A log and its model, which are told the same."""

    @initialize(
        most=st.sampled_from([0, 1, 3, 100]),
        most_bytes=st.sampled_from([0, 300, 1000, 1 << 20]),
        ttl=st.sampled_from([0, 0, 2, 10]),
    )
    def begin(self, most: int, most_bytes: int, ttl: int) -> None:
        self.now = 1000.0
        self.bounds = most, most_bytes, ttl
        self.log = self._new_log()
        self.model = LogModel(self.log.position, *self.bounds)

    @rule(topic=st.sampled_from(TOPICS), to=ADDRESSEES, size=st.sampled_from([0, 0, 30, 200]))
    def publish(self, topic: str | None, to: Addressees, size: int) -> None:
        data = [len(self.model.said), "x" * size]
        self.log.append("server", data, to, topic=topic)
        frame = messages.message(messages.Message(self.log.newest, self.now, "server", data, to, topic=topic))
        wire = Batch((frame,)).wire
        self.model.add(Said(self.log.position, data, topic, to, len(wire)), self.now)

    @rule(seconds=st.sampled_from([0.001, 1.0, 3.0]))
    def later(self, seconds: float) -> None:
        self.now += seconds
        self.log.expire()
        self.model.trim(self.now)

    @rule()
    def hold(self) -> None:
        """As a process does that takes over another one's connections."""
        self.model.held = not self.model.held
        self.log.history.hold(self.model.held)
        self.model.trim(self.now)

    @precondition(lambda self: self.model.said)
    @rule(at=st.integers(0, 100), name=st.sampled_from(NAMES), patterns=SETS, beside=st.none() | SETS)
    def resume(self, at: int, name: str, patterns: list[str], beside: list[str] | None) -> None:
        ids = self.model.ids
        self._compare(written(ids[-1 - at % len(ids)]), name, patterns, beside)

    @rule(since=st.sampled_from(NEVER_GIVEN), patterns=SETS, beside=st.none() | SETS)
    def resume_after_what_was_never_given(
        self, since: str, patterns: list[str], beside: list[str] | None
    ) -> None:
        self._compare(since, "bob", patterns, beside)

    @invariant()
    def what_is_kept_is_the_same(self) -> None:
        if hasattr(self, "log"):
            assert [e.id for e in self.log.history.entries()] == [m.id for m in self.model.kept]
            assert self.log.history.bytes == sum(m.size for m in self.model.kept)

    def _compare(self, since: str, name: str, patterns: list[str], beside: list[str] | None) -> None:
        """What is replayed and said is what the model says, and is no false promise."""
        found = self.log.missed(since, name, patterns, beside=beside)
        expected = self.model.recover(since, name, patterns, beside)
        sent = [frames.read(p)["data"] for batch in found.missed for p in batch.payloads]
        assert sent == [m.data for m in expected.messages]
        assert (found.recovered, found.lost) == (expected.recovered, expected.lost)
        if found.recovered and read_id(since) in self.model.ids:
            assert sent == self._all(since, name, patterns, beside)

    def _all(self, since: str, name: str, patterns: list[str], beside: list[str] | None) -> list[Any]:
        """Everything that such a client would have seen behind `since`, had it been there."""
        seen = read_id(since)
        assert seen is not None
        of = [m for m in self.model.said if m.id > seen and m.is_of(patterns) and m.is_for(name)]
        return [m.data for m in of if beside is None or not m.is_of(beside)]

    def _new_log(self) -> MessageLog:
        most, most_bytes, ttl = self.bounds
        return MessageLog(Delivered().deliver, most, most_bytes, lambda: self.now, ttl)


TestTheHistory = LogAndModel.TestCase
TestTheHistory.settings = examples(120, stateful_step_count=40)
