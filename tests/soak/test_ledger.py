"""What witnesses may see, and what not."""

from hypothesis import given
from hypothesis import strategies as st

from tests.soak.ledger import Ledger


def seen(ledger: Ledger, witness: int, *numbers: int) -> list[str]:
    """A witness gets these messages; what is wrong with them."""
    faults = [ledger.receive(witness, f"{number}-0", f"m{number}") for number in numbers]
    return [fault for fault in faults if fault]


def test_two_that_saw_the_same_have_nothing_to_complain_of() -> None:
    ledger = Ledger(2)
    assert seen(ledger, 0, 1, 2, 3) == seen(ledger, 1, 1, 2) == []
    assert not ledger.level
    assert seen(ledger, 1, 3) == []
    assert ledger.level
    assert ledger.settle() == []
    assert (ledger.published, ledger.received, ledger.excused) == (3, 6, 0)


def test_a_message_that_one_missed_is_found_when_the_next_one_comes() -> None:
    ledger = Ledger(2)
    seen(ledger, 0, 1, 2, 3)
    assert seen(ledger, 1, 1, 3) == ["witness 1 missed 1 messages before (3, 0)"]
    assert ledger.settle() == []


def test_the_last_one_that_was_missed_is_found_in_the_end() -> None:
    ledger = Ledger(2)
    seen(ledger, 0, 1, 2)
    seen(ledger, 1, 1)
    assert ledger.settle() == ["witness 1 missed 1 messages, the first of them ((2, 0), 'm2')"]


def test_a_message_that_comes_twice_or_too_late_is_found() -> None:
    ledger = Ledger(2)
    assert seen(ledger, 0, 1, 3) == []
    assert seen(ledger, 0, 3) == ["witness 0 got (3, 0) behind (3, 0): again, or too late"]
    assert seen(ledger, 0, 2) == ["witness 0 got (2, 0) behind (3, 0): again, or too late"]
    assert seen(ledger, 1, 1, 1) == ["witness 1 got (1, 0) again, or too late"]


def test_a_message_that_others_did_not_get_is_found() -> None:
    ledger = Ledger(2)
    seen(ledger, 0, 1, 3)
    assert seen(ledger, 1, 1, 2) == ["witness 1 got (2, 0), which others did not"]


def test_a_message_that_differs_is_found() -> None:
    ledger = Ledger(2)
    seen(ledger, 0, 1)
    assert ledger.receive(1, "1-0", "other") == "witness 1 got another 1-0 than others"
    assert ledger.receive(1, "one", "m") == "witness 1 got a message with the id 'one'"


def test_what_was_answered_for_and_nobody_got_is_found() -> None:
    ledger = Ledger(1)
    assert ledger.accept("1-0", "m1") is None
    assert ledger.accept("2-0", "m2") is None
    assert seen(ledger, 0, 1) == []
    assert not ledger.level
    assert ledger.settle() == ["nobody got 'm2', which is (2, 0)"]


def test_an_answer_with_the_id_of_another_message_is_found_whichever_comes_first() -> None:
    ledger = Ledger(1)
    seen(ledger, 0, 1)
    assert ledger.accept("1-0", "other") == "the server answered 1-0 to 'other', and sent 'm1' as that"
    ledger.accept("2-0", "other")
    assert seen(ledger, 0, 2) == ["(2, 0) is 'm2', and 'other' was answered for"]
    assert ledger.accept("?", "m") == "the server called 'm' '?'"


def test_what_a_witness_was_told_that_it_lost_is_not_missed() -> None:
    ledger = Ledger(2)
    seen(ledger, 0, 1, 2, 3)
    seen(ledger, 1, 1)
    ledger.lose(1, "3-0")
    assert seen(ledger, 1, 4) == seen(ledger, 0, 4) == []
    assert ledger.settle() == []
    assert ledger.excused == 2


def test_no_more_than_what_it_was_told_of_is_excused() -> None:
    ledger = Ledger(2)
    seen(ledger, 0, 1, 2, 3)
    seen(ledger, 1, 1)
    ledger.lose(1, "2-0")
    assert ledger.settle() == ["witness 1 missed 1 messages, the first of them ((3, 0), 'm3')"]


def test_what_all_were_told_that_they_lost_need_not_come_though_it_was_answered_for() -> None:
    ledger = Ledger(2)
    ledger.accept("5-0", "m5")
    ledger.lose(0, "9-0")
    assert not ledger.level
    ledger.lose(1, "9-0")
    assert ledger.level
    assert ledger.settle() == []


def test_behind_a_checkpoint_old_messages_are_still_known_as_such() -> None:
    ledger = Ledger(1)
    seen(ledger, 0, 1, 2)
    ledger.settle()
    assert seen(ledger, 0, 2) == ["witness 0 got (2, 0) behind (2, 0): again, or too late"]
    assert seen(ledger, 0, 3) == []


@given(st.lists(st.integers(1, 30), max_size=30), st.lists(st.integers(1, 30), max_size=30))
def test_two_have_no_fault_just_when_both_saw_the_same_in_order(one: list[int], other: list[int]) -> None:
    ledger = Ledger(2)
    faults = seen(ledger, 0, *one) + seen(ledger, 1, *other) + ledger.settle()
    assert (faults == []) == (one == other == sorted(set(one)))
