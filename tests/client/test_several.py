"""Several servers asked at once."""

import threading
from typing import Any, cast

import pytest

from tests.support.server import DEADLINE
from wsctl.client.control import Control
from wsctl.client.several import ask_all
from wsctl.errors import Silent, Unreachable


class Named:
    """As much of a `Control` as is asked here."""

    def __init__(self, name: str) -> None:
        self.name = self.process = name


def controls(*names: str) -> list[Control]:
    return [cast(Control, Named(name)) for name in names]


def test_one_that_hangs_is_named_and_does_not_keep_the_answers_of_the_others() -> None:
    over = threading.Event()

    def ask(control: Control) -> dict[str, Any]:
        if control.name == "hangs":
            over.wait(DEADLINE)
        return {"of": control.name}

    first, silent, last = ask_all(controls("a", "hangs", "b"), ask)
    over.set()
    assert (first, last) == ({"of": "a"}, {"of": "b"})
    assert isinstance(silent, Silent)
    assert str(silent).startswith("hangs does not answer")


def test_when_none_has_answered_all_are_waited_for() -> None:
    def ask(control: Control) -> dict[str, Any]:
        raise Unreachable(f"{control.name} is gone")

    assert [str(told) for told in ask_all(controls("a", "b"), ask)] == ["a is gone", "b is gone"]


def test_a_fault_of_ours_is_not_waited_for_without_end() -> None:
    def ask(control: Control) -> dict[str, Any]:
        raise RuntimeError(control.name)

    with pytest.raises(RuntimeError, match="a"):
        ask_all(controls("a"), ask)


def test_answers_are_in_the_order_of_the_questions() -> None:
    turn = threading.Event()

    def ask(control: Control) -> dict[str, Any]:
        turn.wait() if control.name == "a" else turn.set()
        return {"of": control.name}

    assert ask_all(controls("a", "b"), ask) == [{"of": "a"}, {"of": "b"}]
