"""What clients send, within their rate."""

import pytest

from tests.support import frames
from tests.support.connections import RecordedConnection
from tests.support.entries import Delivered
from wsctl.hub.bucket import PATIENCE
from wsctl.hub.connection import Connection, EndReason
from wsctl.hub.intake import CONTROL_RATE, Intake
from wsctl.log.message_log import MessageLog
from wsctl.settings import Rate

SLOW = Rate(1, 2)


class Publishing:
    """An intake, what it published, and a clock that stands until it is moved."""

    def __init__(self, rate: Rate = SLOW, publish: bool = True) -> None:
        self.now = 50.0
        self.published = Delivered()
        self.intake = Intake(MessageLog(self.published.deliver), rate, publish, lambda: self.now)
        self.bob = RecordedConnection("bob")

    def errors(self) -> list[str]:
        return [frames.read(payload)["code"] for payload in self.bob.payloads]


def test_a_text_becomes_a_message_of_its_sender_to_everyone() -> None:
    p = Publishing()
    p.intake.text(p.bob, "hello")
    assert [(m.sender, m.data, m.to) for m in p.published] == [("bob", "hello", None)]
    assert p.intake.received == 1


def test_over_its_rate_a_client_is_told_once_a_second_and_not_published() -> None:
    p = Publishing()
    for n in range(6):
        p.intake.text(p.bob, str(n))
    assert [m.data for m in p.published] == ["0", "1"]
    assert p.errors() == ["rate_limited"]
    p.now += 0.5
    p.intake.text(p.bob, "too soon")
    p.now += 0.5
    p.intake.text(p.bob, "taken again")
    p.intake.text(p.bob, "and over it again")
    assert [m.data for m in p.published] == ["0", "1", "taken again"]
    assert p.errors() == ["rate_limited"] * 2
    assert p.intake.received == 3


def test_who_ignores_the_limit_is_cut_with_1008() -> None:
    p = Publishing()
    for _ in range(2 + PATIENCE * 2):
        p.intake.text(p.bob, "x")
    assert p.bob.closed is None
    p.intake.text(p.bob, "x")
    assert p.bob.closed == (1008, "the rate limit was ignored for too long", EndReason.EVICTED)
    assert len(p.published) == 2


def test_one_client_s_rate_is_not_another_s() -> None:
    p, eve = Publishing(), RecordedConnection("eve")
    for _ in range(5):
        p.intake.text(p.bob, "x")
    p.intake.text(eve, "y")
    assert [m.sender for m in p.published] == ["bob", "bob", "eve"]


def test_zero_a_second_lifts_the_limit() -> None:
    p = Publishing(Rate(0, 1))
    for _ in range(500):
        p.intake.text(p.bob, "x")
        p.intake.control(p.bob)
    assert len(p.published) == 500
    assert p.bob.closed is None
    assert p.errors() == []


def test_without_publishing_a_client_is_told_so_within_its_rate() -> None:
    p = Publishing(publish=False)
    for _ in range(4):
        p.intake.text(p.bob, "x")
    assert p.published == []
    assert p.errors() == ["publish_disabled", "publish_disabled", "rate_limited"]
    assert p.intake.received == 0


def test_binary_is_refused_with_1003() -> None:
    p = Publishing()
    p.intake.binary(p.bob)
    assert p.bob.closed
    assert p.bob.closed[0::2] == (1003, EndReason.EVICTED)
    assert p.bob.closed[1]


@pytest.mark.parametrize("rate", [SLOW, Rate(1000, 10), Rate(1, 100), Rate(1000, 1000)])
def test_pings_are_never_answered_with_an_error_but_a_flood_is_cut(rate: Rate) -> None:
    p = Publishing(rate)
    at_once = max(rate.burst, CONTROL_RATE.burst)
    for _ in range(at_once * (1 + PATIENCE)):
        p.intake.control(p.bob)
    assert (p.errors(), p.bob.closed) == ([], None)
    p.intake.control(p.bob)
    assert p.errors() == []
    assert p.bob.closed == (1008, "the rate limit was ignored for too long", EndReason.EVICTED)


def test_pings_take_nothing_of_the_rate_of_messages_nor_messages_of_theirs() -> None:
    p = Publishing()
    for _ in range(CONTROL_RATE.burst + 1):
        p.intake.control(p.bob)
    for text in ("one", "two", "three"):
        p.intake.text(p.bob, text)
    p.intake.control(p.bob)
    assert [m.data for m in p.published] == ["one", "two"]
    assert (p.errors(), p.bob.closed) == (["rate_limited"], None)


def test_what_is_for_the_server_is_not_published_and_counts_against_the_rate() -> None:
    p = Publishing(publish=False)
    taken: list[tuple[str, str]] = []

    def take(connection: Connection, text: str) -> bool:
        taken.append((connection.client_id, text))
        return text == "renew"

    log = MessageLog(p.published.deliver)
    intake = Intake(log, SLOW, True, lambda: p.now, take)
    for text in ("renew", "hello", "renew"):
        intake.text(p.bob, text)
    assert taken == [("bob", "renew"), ("bob", "hello")]
    assert [m.data for m in p.published] == ["hello"]
    assert (intake.received, p.errors()) == (1, ["rate_limited"])


def test_where_nothing_is_published_the_server_is_still_spoken_to() -> None:
    p = Publishing()
    intake = Intake(MessageLog(p.published.deliver), SLOW, False, lambda: p.now, lambda _, text: True)
    intake.text(p.bob, "renew")
    assert p.errors() == []


def test_the_connections_of_a_client_have_one_rate_together() -> None:
    p = Publishing()
    phone, laptop = p.bob, RecordedConnection("bob")
    p.intake = Intake(
        MessageLog(p.published.deliver), SLOW, True, lambda: p.now, connections_of=lambda _: (phone, laptop)
    )
    for n, connection in enumerate((phone, laptop, phone, laptop)):
        p.intake.text(connection, str(n))
    assert [m.data for m in p.published] == ["0", "1"]
    phone.end_reason = EndReason.LEFT
    p.intake.left(phone)
    tablet = RecordedConnection("bob")
    p.intake.text(tablet, "too soon")
    assert len(p.published) == 2
    p.now += 1.0
    for connection in (tablet, laptop):
        p.intake.text(connection, "later")
    assert [m.data for m in p.published] == ["0", "1", "later"]


def test_a_client_is_told_what_it_may_send_now_and_so_is_one_that_comes_back() -> None:
    p = Publishing(Rate(1, 4))
    connected = [p.bob]
    p.intake = Intake(
        MessageLog(p.published.deliver),
        Rate(1, 4),
        True,
        lambda: p.now,
        connections_of=lambda name: [each for each in connected if each.client_id == name],
    )
    assert p.intake.allowance("bob") == (1, 4, 4)
    for _ in range(3):
        p.intake.text(p.bob, "x")
    assert p.intake.allowance("bob") == (1, 4, 1)
    assert p.intake.allowance("eve") == (1, 4, 4)
    connected.clear()
    p.bob.end_reason = EndReason.LEFT
    p.intake.left(p.bob)
    p.now += 1.5
    assert p.intake.allowance("bob") == (1, 4, 2)
    p.now += 60
    assert p.intake.allowance("bob") == (1, 4, 4)
    assert Publishing(Rate(0, 1)).intake.allowance("bob") is None
