"""How long clients may stay, and how they renew that."""

from dataclasses import dataclass, field

import pytest

from tests.support.connections import RecordedConnection
from tests.support.frames import read
from wsctl.hub.connection import EndReason
from wsctl.hub.manager import ConnectionManager
from wsctl.server.credentials.expiry import REASON, ExpiryTimes, RenewalHandler
from wsctl.server.credentials.verifier import Denied, Granted


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Fixed:
    """A verifier that knows one token, and notes who asks."""

    verdict: Granted | Denied
    asked: list[tuple[str, str]] = field(default_factory=list)

    def verify(self, token: str) -> Granted | Denied:
        return self.verdict

    def verify_for(self, token: str, client_id: str) -> Granted | Denied:
        self.asked.append((token, client_id))
        return self.verdict


def _client(name: str = "bob") -> RecordedConnection:
    return RecordedConnection(name, ConnectionManager(lambda: 0.0, lambda call: call()))


def test_whose_time_is_over_is_asked_to_come_back_with_something_new() -> None:
    clock = Clock()
    expiry = ExpiryTimes(clock)
    bob, eve = _client(), _client("eve")
    expiry.set(bob, 1010.0)
    expiry.set(eve, 1020.0)
    clock.now = 1009.9
    expiry.close_expired(0.0)
    assert (bob.closed, len(expiry)) == (None, 2)
    clock.now = 1010.0
    expiry.close_expired(0.0)
    assert bob.closed == (4403, REASON, EndReason.EVICTED)
    assert (eve.closed, len(expiry)) == (None, 1)


def test_who_may_stay_for_ever_is_not_even_remembered() -> None:
    expiry = ExpiryTimes(Clock())
    bob = _client()
    expiry.set(bob, None)
    assert (len(expiry), expiry.of(bob)) == (0, None)


def test_who_has_gone_is_forgotten_and_not_closed_again() -> None:
    expiry = ExpiryTimes(Clock())
    bob = _client()
    expiry.set(bob, 5000.0)
    bob.end_reason = EndReason.LEFT
    expiry.close_expired(0.0)
    assert (len(expiry), bob.closed) == (0, None)


def test_a_renewal_moves_the_end_and_says_how_far() -> None:
    expiry = ExpiryTimes(Clock())
    verifier = Fixed(Granted(1060.0))
    bob = _client()
    expiry.set(bob, 1001.0)
    assert RenewalHandler(verifier, expiry).handle(bob, '{"type": "renew", "token": "new"}')
    assert verifier.asked == [("new", "bob")]
    assert expiry.of(bob) == 1060.0
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
    expiry = ExpiryTimes(Clock())
    bob = _client()
    expiry.set(bob, 1001.0)
    assert RenewalHandler(Fixed(verdict), expiry).handle(bob, text)
    answer = read(bob.payloads[0])
    assert (answer["type"], answer["code"]) == ("error", "renewal_refused")
    assert "t0p" not in answer["message"]
    assert (expiry.of(bob), bob.closed) == (1001.0, None)


def test_any_other_text_is_for_the_others() -> None:
    verifier = Fixed(Granted(9999.0))
    bob = _client()
    assert not RenewalHandler(verifier, ExpiryTimes(Clock())).handle(
        bob, '{"type": "renewal", "token": "t0p"}'
    )
    assert (verifier.asked, bob.payloads) == ([], [])


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
    assert RenewalHandler(None, ExpiryTimes(Clock())).handle(bob, text) == is_held_back
    answers = [read(payload) for payload in bob.payloads]
    assert [answer["code"] for answer in answers] == ["renewal_refused"] * is_held_back
    assert all("t0p" not in answer["message"] for answer in answers)
