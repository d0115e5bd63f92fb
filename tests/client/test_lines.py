"""Lines that are published in batches, by a server that is not always there."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from wsctl.client.control import ClosingError
from wsctl.client.lines import LINES_TOGETHER, PATIENCE, Line, LinePublisher, read_lines
from wsctl.control.operations import MAX_BATCH_BYTES
from wsctl.errors import HungUp, Refused, Silent, Unreachable, WsctlError

Answers = Callable[[Sequence[bytes]], list[dict[str, Any]]]


class Server:
    """A server that answers as a test says, one request after the other; behind these it publishes all."""

    def __init__(self, *answers: Answers | Exception) -> None:
        self.requests: list[list[bytes]] = []
        self.now = 0.0
        self.told: list[str] = []
        self._answers = list(answers)

    def publish_lines(self, lines: Sequence[bytes]) -> list[dict[str, Any]]:
        self.requests.append(list(lines))
        answer = self._answers.pop(0) if self._answers else published
        if isinstance(answer, Exception):
            raise answer
        return answer(lines)

    def publish(self, lines: Sequence[Line]) -> list[tuple[int, Any]]:
        def pause(seconds: float) -> None:
            self.now += seconds

        publisher = LinePublisher(lambda: self, self.told.append, clock=lambda: self.now, pause=pause)  # type: ignore[arg-type, return-value]
        return [
            (line.number, answer.get("id") or answer["error"]["code"])
            for line, answer in publisher.publish(lines)
        ]


def published(lines: Sequence[bytes]) -> list[dict[str, Any]]:
    return [{"id": line.decode(), "recipients": 0} for line in lines]


def refused(code: str, *at: int) -> Answers:
    """Refuse the lines at these places, and publish the others."""
    error = {"error": {"code": code, "message": "why"}}
    return lambda lines: [error if n in at else answer for n, answer in enumerate(published(lines))]


def some(count: int) -> list[Line]:
    return [Line(n, str(n).encode()) for n in range(1, count + 1)]


def test_lines_are_sent_together_but_not_too_many_of_them() -> None:
    server = Server()
    assert len(server.publish(some(LINES_TOGETHER + 1))) == LINES_TOGETHER + 1
    assert [len(request) for request in server.requests] == [LINES_TOGETHER, 1]


@pytest.mark.parametrize("error", [Unreachable("gone"), ClosingError("closing")])
def test_what_may_not_have_arrived_is_sent_again_as_it_was(error: Exception) -> None:
    server = Server(refused("degraded", 0, 1), error, error)
    assert server.publish(some(2)) == [(1, "1"), (2, "2")]
    assert server.requests == [[b"1", b"2"]] * 4
    assert server.told == ["line 1 and those behind it are sent again: why"]


@pytest.mark.parametrize("code", ["degraded", "unconfirmed", "closing"])
def test_only_lines_that_were_refused_for_now_are_sent_again(code: str) -> None:
    server = Server(refused(code, 1, 2), refused(code, 1))
    assert server.publish(some(3)) == [(1, "1"), (2, "2"), (3, "3")]
    assert server.requests == [[b"1", b"2", b"3"], [b"2", b"3"], [b"3"]]


def test_a_bad_line_is_refused_once_and_one_that_cannot_be_sent_is_not() -> None:
    server = Server(refused("bad_request", 0))
    lines = [Line(1, b"1"), Line(2, b"", "it is empty"), Line(3, b"3")]
    assert server.publish(lines) == [(1, "bad_request"), (2, "bad_request"), (3, "3")]
    assert server.requests == [[b"1", b"3"]]


@pytest.mark.parametrize("error", [Unreachable("nobody"), Silent("hangs")])
def test_a_server_that_never_answered_is_not_waited_for(error: Exception) -> None:
    server = Server(error)
    with pytest.raises(Unreachable, match=f"^{error}$"):
        server.publish(some(2))
    assert (server.now, server.told) == (0, [])


def test_a_crash_amid_the_first_request_is_waited_for_but_not_who_hangs_up_again() -> None:
    server = Server(HungUp("hung up"), Unreachable("nobody"), Unreachable("nobody"))
    assert server.publish(some(2)) == [(1, "1"), (2, "2")]
    server = Server(HungUp("hung up"), HungUp("hung up"))
    with pytest.raises(HungUp):
        server.publish(some(2))
    assert len(server.requests) == 2


def test_who_is_not_there_for_long_is_given_up_and_the_line_is_named() -> None:
    server = Server(HungUp("hung up"), *[Unreachable("gone")] * 1000)
    with pytest.raises(Unreachable, match="gone; line 1 and those behind it may be missing"):
        server.publish(some(2))
    assert PATIENCE <= server.now < PATIENCE + 5


def test_a_refusal_that_does_not_pass_is_raised_at_once() -> None:
    server = Server(Refused("wrong token"))
    with pytest.raises(WsctlError, match="wrong token"):
        server.publish(some(2))
    assert server.now == 0


def test_lines_are_read_as_they_come_and_a_line_that_is_too_long_is_cut() -> None:
    long = b"x" * (MAX_BATCH_BYTES + 10)
    chunks = iter([b"a\nb", b"\n\nc\r\n", long, b"yy\nd", b""])
    found = list(read_lines(lambda size: next(chunks)))
    assert found[:2] == [[b"a"], [b"b", b"", b"c\r"]]
    assert [len(found[2][0]) > MAX_BATCH_BYTES, found[3]] == [True, [b"d"]]
