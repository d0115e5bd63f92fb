"""When a Redis counts as away, and how long it is left alone."""

import logging

import pytest

from wsctl.log.home import Away
from wsctl.log.redis.availability import FIRST_RETRY, SLOWEST_RETRY, STEADY, UNEXPECTED, Availability

LOST = Away("Connection refused", "start one")


class Shown:
    """One with a clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 10.0
        self.availability = Availability("redis://there", lambda: self.now)


@pytest.fixture
def shown() -> Shown:
    return Shown()


def test_it_is_away_after_the_second_failure_in_a_row(shown: Shown) -> None:
    availability = shown.availability
    assert not availability.fail(LOST)
    assert (availability.why, availability.pause) == (None, 0.0)
    shown.now = 11.0
    assert availability.fail(LOST)
    assert (availability.why, availability.since) == ("Connection refused", 11.0)
    assert not availability.fail(Away("no answer", "wait"))
    assert (availability.why, availability.since) == ("no answer", 11.0)


def test_it_is_tried_less_and_less_often(shown: Shown) -> None:
    pauses = []
    for _ in range(2000):
        shown.availability.fail(LOST)
        pauses.append(shown.availability.pause)
    assert pauses[:5] == [0.0, FIRST_RETRY, 2 * FIRST_RETRY, 4 * FIRST_RETRY, 8 * FIRST_RETRY]
    assert pauses[5] == pauses[-1] == SLOWEST_RETRY


@pytest.mark.parametrize(("steady", "is_away"), [(STEADY - 0.1, True), (STEADY, False)])
def test_after_a_while_without_one_a_failure_is_the_first_again(
    shown: Shown, steady: float, is_away: bool
) -> None:
    availability = shown.availability
    availability.fail(LOST)
    assert not availability.succeed(recovered=True)
    shown.now += steady
    assert availability.fail(LOST) is is_away


def test_what_changes_is_logged_once(shown: Shown, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "wsctl.shared"):
        for _ in range(5):
            shown.availability.fail(LOST)
        shown.now += 2.5
        assert shown.availability.succeed(recovered=False)
        assert not shown.availability.succeed(recovered=False)
    assert [record.message for record in caplog.records] == ["Redis is away", "Redis is back"]
    told = caplog.records[-1].__dict__["fields"]
    assert told == {"redis": "redis://there", "away_s": 2.5, "recovered": False}


def test_an_unexpected_error_is_told_without_its_words_and_logged_with_them(
    shown: Shown, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "wsctl.shared"):
        for _ in range(3):
            shown.availability.fail(KeyError("secret"))
        assert shown.availability.why == UNEXPECTED
        shown.availability.succeed(recovered=True)
        shown.availability.check()
        shown.now += STEADY
        shown.availability.check()
        shown.availability.check()
    assert [record.message for record in caplog.records] == [UNEXPECTED, "what Redis says makes sense again"]
    assert caplog.records[0].exc_info
    assert caplog.records[1].__dict__["fields"] == {"failures": 3}
