"""The numbers that the outside sees."""

import pytest
from websockets.exceptions import ProtocolError
from websockets.frames import Close

from wsctl.codes import CloseCode, ExitCode, can_be_sent, is_final
from wsctl.errors import CannotStart, Refused, Unreachable, UsageError, WsctlError


def _websockets_sends(code: int) -> bool:
    try:
        Close(code, "").check()
    except ProtocolError:
        return False
    return True


def test_the_codes_that_may_be_sent_are_those_websockets_sends() -> None:
    assert {c for c in range(1 << 16) if can_be_sent(c)} == {
        c for c in range(1 << 16) if _websockets_sends(c)
    }


def test_every_code_of_ours_may_be_sent_but_the_two_that_report() -> None:
    assert {c for c in CloseCode if not can_be_sent(c)} == {CloseCode.NO_STATUS, CloseCode.ABNORMAL}


def test_only_4500_to_4999_ask_a_client_to_stay_away() -> None:
    assert {c for c in range(1 << 16) if is_final(c)} == set(range(4500, 5000))
    assert [c for c in CloseCode if is_final(c)] == [CloseCode.REPLACED]


@pytest.mark.parametrize(
    ("error", "code"),
    [(WsctlError, 1), (UsageError, 2), (CannotStart, 3), (Unreachable, 5), (Refused, 6)],
)
def test_each_failure_has_its_exit_code(error: type[WsctlError], code: int) -> None:
    assert error.exit_code == code


def test_the_exit_codes_are_the_promised_ones() -> None:
    assert {code.name: int(code) for code in ExitCode} == {
        "DONE": 0,
        "ERROR": 1,
        "USAGE": 2,
        "CANNOT_START": 3,
        "FORCED": 4,
        "UNREACHABLE": 5,
        "REFUSED": 6,
        "OPERATOR": 130,
    }
