"""How long clients may stay, and how they renew that."""

from dataclasses import dataclass, field

import pytest

from tests.support.connections import RecordedConnection
from tests.support.frames import read
from wsctl.hub.connection import Ending
from wsctl.hub.manager import ConnectionManager
from wsctl.server.credentials.judge import Denied, Granted
from wsctl.server.credentials.leases import REASON, Leases
from wsctl.server.credentials.renewals import Renewals


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Fixed:
    """A judge that knows one token, and notes who asks."""

    verdict: Granted | Denied
    asked: list[tuple[str, str]] = field(default_factory=list)

    def check(self, token: str) -> Granted | Denied:
        return self.verdict

    def judge(self, token: str, client_id: str) -> Granted | Denied:
        self.asked.append((token, client_id))
        return self.verdict


def _client(name: str = "bob") -> RecordedConnection:
    return RecordedConnection(name, ConnectionManager(lambda: 0.0, lambda call: call()))


def test_whose_time_is_over_is_asked_to_come_back_with_something_new() -> None:
    clock = Clock()
    leases = Leases(clock)
    bob, eve = _client(), _client("eve")
    leases.grant(bob, 1010.0)
    leases.grant(eve, 1020.0)
    clock.now = 1009.9
    leases.check(0.0)
    assert (bob.closed, len(leases)) == (None, 2)
    clock.now = 1010.0
    leases.check(0.0)
    assert bob.closed == (4403, REASON, Ending.EVICTED)
    assert (eve.closed, len(leases)) == (None, 1)


def test_who_may_stay_for_ever_is_not_even_remembered() -> None:
    leases = Leases(Clock())
    bob = _client()
    leases.grant(bob, None)
    assert (len(leases), leases.of(bob)) == (0, None)


def test_who_has_gone_is_forgotten_and_not_closed_again() -> None:
    leases = Leases(Clock())
    bob = _client()
    leases.grant(bob, 5000.0)
    bob.ending = Ending.LEFT
    leases.check(0.0)
    assert (len(leases), bob.closed) == (0, None)


def test_a_renewal_moves_the_end_and_says_how_far() -> None:
    leases = Leases(Clock())
    judge = Fixed(Granted(1060.0))
    bob = _client()
    leases.grant(bob, 1001.0)
    assert Renewals(judge, leases).takes(bob, '{"type": "renew", "token": "new"}')
    assert judge.asked == [("new", "bob")]
    assert leases.of(bob) == 1060.0
    assert read(bob.payloads[0]) == {"type": "renewed", "expires_in_s": 60.0}


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ('{"type": "renew", "token": "t0p"}', Denied("the token has expired")),
        ('{"type": "renew", "token": "t0p"}', Granted(None)),
        ('{"type": "renew"}', Granted(9999.0)),
        ('{"type": "renew", "token": 5}', Granted(9999.0)),
        ('{"type": "renew", "token": "t0p', Granted(9999.0)),
    ],
)
def test_a_refused_renewal_leaves_what_there_was(text: str, verdict: Granted | Denied) -> None:
    leases = Leases(Clock())
    bob = _client()
    leases.grant(bob, 1001.0)
    assert Renewals(Fixed(verdict), leases).takes(bob, text)
    answer = read(bob.payloads[0])
    assert (answer["type"], answer["code"]) == ("error", "renewal_refused")
    assert "t0p" not in answer["message"]
    assert (leases.of(bob), bob.closed) == (1001.0, None)


def test_any_other_text_is_for_the_others() -> None:
    judge = Fixed(Granted(9999.0))
    bob = _client()
    assert not Renewals(judge, Leases(Clock())).takes(bob, '{"type": "renewal", "token": "t0p"}')
    assert (judge.asked, bob.payloads) == ([], [])


@pytest.mark.parametrize(
    ("text", "is_held_back"),
    [
        ('{"type": "renew", "token": "t0p"}', True),
        ('{"token": "t0p", "type": "\\u0072enew"}', True),
        ('{"type": "renew", "token": "t0p', True),
        ('{"type": "renew"}', False),
        ('{"type": "renew", "until": 5}', False),
        ("renew", False),
    ],
)
def test_where_nobody_needs_credentials_none_goes_to_others_all_the_same(
    text: str, is_held_back: bool
) -> None:
    bob = _client()
    assert Renewals(None, Leases(Clock())).takes(bob, text) == is_held_back
    answers = [read(payload) for payload in bob.payloads]
    assert [answer["code"] for answer in answers] == ["renewal_refused"] * is_held_back
    assert all("t0p" not in answer["message"] for answer in answers)
