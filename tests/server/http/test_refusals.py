"""The log of refusals."""

import logging
from typing import Any

import pytest

from wsctl.server.http.refusals import RefusalLog, Refusals


class Lines(logging.Handler):
    """What was logged: level, event and fields."""

    def __init__(self) -> None:
        super().__init__()
        self.all: list[tuple[int, str, dict[str, Any]]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.all.append((record.levelno, record.getMessage(), record.__dict__["fields"]))


@pytest.fixture
def lines() -> Any:
    logger, handler = logging.getLogger("wsctl.server"), Lines()
    logger.addHandler(handler)
    before = logger.level
    logger.setLevel(logging.INFO)  # and not by the attribute: loggers remember what is enabled
    yield handler.all
    logger.removeHandler(handler)
    logger.setLevel(before)


def test_the_first_is_told_at_once_and_a_second_of_others_together(lines: list[Any]) -> None:
    now = 100.0
    refusals = RefusalLog(lambda: now)
    for n in range(1000):
        now = 100.0 + n / 1000
        refusals.note("bad_credentials", f"192.0.2.{n % 250}")
    refusals.check(100.999)
    assert lines == [
        (logging.INFO, "refused", {"reason": "bad_credentials", "address": "192.0.2.0", "count": 1})
    ]
    refusals.check(101.0)
    assert [fields["count"] for _, _, fields in lines] == [1, 999]
    refusals.check(102.5)
    assert len(lines) == 2


def test_each_reason_has_its_own_line(lines: list[Any]) -> None:
    refusals = RefusalLog(lambda: 0.0)
    refusals.note("bad_credentials", "192.0.2.1")
    refusals.note("full", "", level=logging.WARNING, event="full: no room", capacity=5)
    assert lines[1] == (logging.WARNING, "full: no room", {"reason": "full", "capacity": 5, "count": 1})


def test_clients_that_are_not_let_in_are_counted_by_code(lines: list[Any]) -> None:
    refusals = Refusals(lambda: 0.0, 50)
    refusals.count("full")
    refusals.count("bad_credentials")
    refusals.count_drained()
    refusals.count_evicted("192.0.2.1")
    assert refusals.counts == {"full": 2, "bad_credentials": 1, "draining": 1}
    event = "full: the oldest connections without a client end"
    assert lines == [(logging.WARNING, event, {"reason": "crowded", "address": "192.0.2.1", "count": 1})]


def test_a_full_server_warns_and_says_how_many_clients_it_takes(lines: list[Any]) -> None:
    refusals = Refusals(lambda: 0.0, 50)
    refusals.log("full", "")
    refusals.log("bad_since", "192.0.2.1")
    refusals.log("bad_since", "192.0.2.2")
    event = "full: new clients are refused"
    assert lines == [
        (logging.WARNING, event, {"reason": "full", "capacity": 50, "count": 1}),
        (logging.INFO, "refused", {"reason": "bad_since", "address": "192.0.2.1", "count": 1}),
    ]
    refusals.check(1.0)
    assert lines[2][2]["address"] == "192.0.2.2"
