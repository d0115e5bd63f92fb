"""What waits comes out in order, in chunks, and is counted right."""

from hypothesis import given
from hypothesis import strategies as st

from tests.support.sizes import examples
from wsctl.frame import Batch
from wsctl.hub.outbox import CHUNK, Outbox

BATCHES = st.builds(
    lambda size, letter, many: Batch((letter * size,) * many),
    st.sampled_from([0, 1, 125, 5000, CHUNK - 4, CHUNK, CHUNK + 1]),
    st.sampled_from([b"a", b"b"]),
    st.integers(1, 3),
)


@examples(80)
@given(st.lists(BATCHES | st.none(), max_size=25))
def test_batches_leave_in_order_and_the_size_is_what_waits(steps: list[Batch | None]) -> None:
    """None stands for an iteration in which the socket takes a chunk."""
    outbox, waiting = Outbox(), []
    for step in [*steps, None]:
        if step is not None:
            outbox.put(step)
            waiting.append(step)
        else:
            taken = outbox.take()
            assert taken == waiting[: len(taken)]
            assert bool(taken) == bool(waiting)
            assert len(taken) == 1 or sum(len(batch.wire) for batch in taken) <= CHUNK
            waiting = waiting[len(taken) :]
        assert outbox.size == sum(len(batch.wire) for batch in waiting)
        assert outbox.messages == sum(len(batch.payloads) for batch in waiting)
        assert outbox.batches() == waiting


def test_small_batches_are_taken_together() -> None:
    outbox, batches = Outbox(), [Batch((b"x",)) for _ in range(5)]
    for batch in batches:
        outbox.put(batch)
    assert outbox.take() == batches
    assert outbox.take() == []


def test_control_frames_wait_but_are_no_messages() -> None:
    outbox = Outbox()
    outbox.put(Batch(wire=b"\x89\x00"))
    assert (outbox.size, outbox.messages) == (2, 0)


def test_carried_bytes_wait_for_the_messages_they_are_said_to_hold() -> None:
    outbox = Outbox()
    outbox.put(Batch(wire=b"the end of a frame"))
    outbox.put(Batch(wire=b"whole frames", messages=2))
    assert (outbox.size, outbox.messages) == (30, 2)


def test_what_is_cleared_is_forgotten() -> None:
    outbox = Outbox()
    outbox.put(Batch((b"x",)))
    outbox.clear()
    assert (outbox.size, outbox.messages, outbox.take()) == (0, 0, [])
