"""Whether several servers are one."""

from hypothesis import given
from hypothesis import strategies as st

from wsctl.client.rollcall import RollCall

A, B, C = SERVERS = ("http://a", "http://b", "http://c")


def message(text: str, number: int = 1) -> dict[str, object]:
    return {"type": "message", "id": f"{number}-0", "from": "bob", "data": text}


def called(*left_out: tuple[str, str]) -> RollCall:
    """Every message has come to every server, but for these: whose, and where."""
    roll = RollCall(SERVERS)
    for number, first in enumerate(SERVERS):
        for other in SERVERS:
            if (first, other) not in left_out:
                roll.hear(other, message(roll.text(first), number))
    return roll


def test_servers_at_which_every_message_arrives_with_one_id_are_one() -> None:
    roll = called()
    assert roll.complete
    assert roll.fault() is None


@given(st.sets(st.tuples(st.sampled_from(SERVERS), st.sampled_from(SERVERS)), min_size=1))
def test_one_message_that_does_not_come_is_a_fault_which_names_the_servers(
    gaps: set[tuple[str, str]],
) -> None:
    roll = called(*gaps)
    assert not roll.complete
    fault = roll.fault()
    assert fault
    assert any(first in fault and other in fault for first, other in gaps)


def test_an_island_is_said_to_be_one_and_what_to_do() -> None:
    fault = called((A, B), (B, A), (C, B), (B, C)).fault()
    assert fault
    assert fault.startswith(f"what {A} takes does not arrive at {B}: they share no messages")
    assert "--redis" in fault


def test_one_message_with_two_ids_is_no_one_order() -> None:
    roll = called()
    roll.hear(C, message(roll.text(B), 7))
    fault = roll.fault()
    assert fault
    assert fault.startswith(f"one message has different ids at {B} and {C}")


def test_a_server_that_does_not_even_answer_is_no_island() -> None:
    fault = called((A, A), (A, B), (A, C)).fault()
    assert fault == f"{A} did not send a message back in time: is it overloaded?"


def test_other_messages_are_not_heard() -> None:
    roll, another = RollCall(SERVERS), RollCall(SERVERS)
    for frame in (message(another.text(A)), {"type": "heartbeat"}, {"type": "message", "data": ["x"]}):
        roll.hear(A, frame)
    assert roll.fault() == f"{A} did not send a message back in time: is it overloaded?"
