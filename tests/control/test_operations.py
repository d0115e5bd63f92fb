"""The table of operations, and requests that are carried to what carries them out."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import pytest

from tests.support.status import FACTS
from wsctl.control.disconnecting import Disconnect, DisconnectResult
from wsctl.control.history import HistoryQuery, KeptMessages
from wsctl.control.operations import (
    CONTROL_SOCKET,
    DRAIN,
    LINES_TARGET,
    MOST_TOPICS_LISTED,
    OPERATIONS,
    TOPICS_LISTED,
    ControlError,
    DrainAnswer,
    DrainEnd,
    Published,
    PublishedLines,
    UpgradeAnswer,
    answer,
    find,
    methods_at,
    result_of,
    topics_target,
)
from wsctl.control.status import ServerStatus, TopicList, TopicStatus

pytestmark = pytest.mark.anyio


class Recorded:
    """Carries out nothing, and remembers what was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[object, ...]] = []

    async def status(self, *, clients: bool) -> ServerStatus:
        self.asked.append(("status", clients))
        return ServerStatus.from_json(FACTS)

    async def topics(self, limit: int) -> TopicList:
        self.asked.append(("topics", limit))
        return TopicList((TopicStatus("a.b", 1, 0, 0, None),), more=False)

    async def history(self, wanted: HistoryQuery) -> KeptMessages:
        self.asked.append(("history", wanted))
        return KeptMessages((), more=False, newest_id="1-0")

    async def metrics(self) -> Mapping[str, Any]:
        self.asked.append(("metrics",))
        return {"families": []}

    async def broadcast(self, body: bytes) -> Published:
        self.asked.append(("broadcast", body))
        return Published("5-0", 3)

    async def publish_one(self, body: bytes) -> Published:
        self.asked.append(("publish_one", body))
        return Published("5-0", 3)

    async def publish_lines(self, body: bytes) -> PublishedLines:
        self.asked.append(("publish_lines", body))
        return PublishedLines("{}\n")

    async def disconnect(self, wanted: Disconnect, by: str) -> DisconnectResult:
        self.asked.append(("disconnect", wanted, by))
        return DisconnectResult(2)

    async def drain(self, body: bytes, by: str) -> DrainAnswer:
        self.asked.append(("drain", body, by))
        return DrainAnswer("draining", None)

    async def cancel_drain(self, by: str) -> DrainAnswer:
        raise ControlError(HTTPStatus.CONFLICT, "not_now", "there is no drain")

    async def wait_drained(self) -> DrainEnd:
        self.asked.append(("wait_drained",))
        return DrainEnd(None, 0)

    async def upgrade(self, by: str) -> UpgradeAnswer:
        self.asked.append(("upgrade", by))
        return UpgradeAnswer(None)

    async def wait_upgraded(self) -> UpgradeAnswer:
        self.asked.append(("wait_upgraded",))
        return UpgradeAnswer(None)


@pytest.mark.parametrize(
    ("method", "target", "asked", "answered"),
    [
        ("GET", "/api/metrics", ("metrics",), (200, {"families": []})),
        ("POST", "/api/broadcast", ("broadcast", b"{}"), (200, {"id": "5-0", "recipients": 3})),
        ("POST", "/api/publish", ("publish_one", b"{}"), (200, {"id": "5-0", "recipients": 3})),
        ("POST", LINES_TARGET, ("publish_lines", b"{}"), (200, {"text": "{}\n"})),
        (
            "POST",
            "/api/drain",
            ("drain", b"{}", CONTROL_SOCKET),
            (200, {"status": "draining", "drain": None}),
        ),
        (
            "POST",
            DRAIN.target("token, from ::1"),
            ("drain", b"{}", "token, from ::1"),
            (200, {"status": "draining", "drain": None}),
        ),
        (
            "DELETE",
            Disconnect("b:\u00fc", 4500, "a & b").target,
            ("disconnect", Disconnect("b:\u00fc", 4500, "a & b"), CONTROL_SOCKET),
            (200, {"connections": 2}),
        ),
        (
            "GET",
            f"/api/history?{HistoryQuery(('a.b', 'c.>'), '5-0', 7).query}",
            ("history", HistoryQuery(("a.b", "c.>"), "5-0", 7)),
            (200, {"messages": [], "more": False, "newest_id": "1-0"}),
        ),
        (
            "DELETE",
            "/api/clients/bob",
            ("disconnect", Disconnect("bob", 4000, "disconnected by an operator"), CONTROL_SOCKET),
            (200, {"connections": 2}),
        ),
        ("GET", "/api/drain", ("wait_drained",), (200, {"drain": None, "exit_code": 0})),
        ("POST", "/api/upgrade", ("upgrade", CONTROL_SOCKET), (202, {"upgrade": None})),
        ("GET", "/api/upgrade", ("wait_upgraded",), (200, {"upgrade": None})),
    ],
)
async def test_a_request_is_carried_out_and_answered(
    method: str, target: str, asked: tuple[object, ...], answered: tuple[int, dict[str, Any]]
) -> None:
    service = Recorded()
    assert await answer(service, method, target, b"{}") == answered
    assert service.asked == [asked]


@pytest.mark.parametrize(
    ("target", "clients"), [("/api/status", False), ("/api/status?clients=true&by=me", True)]
)
async def test_clients_are_listed_when_they_are_asked_for(target: str, clients: bool) -> None:
    service = Recorded()
    assert (await answer(service, "GET", target, b""))[1]["pid"] == FACTS["pid"]
    assert service.asked == [("status", clients)]


@pytest.mark.parametrize(("target", "limit"), [("/api/topics", TOPICS_LISTED), (topics_target(7), 7)])
async def test_topics_are_listed_up_to_the_limit(target: str, limit: int) -> None:
    service = Recorded()
    row = {"topic": "a.b", "subscribers": 1, "messages": 0, "bytes": 0, "newest_id": None}
    assert await answer(service, "GET", target, b"") == (200, {"topics": [row], "more": False})
    assert service.asked == [("topics", limit)]


@pytest.mark.parametrize("wrong", ["0", "-1", "many", "1.5", str(MOST_TOPICS_LISTED + 1)])
async def test_a_limit_that_is_none_is_refused(wrong: str) -> None:
    status, told = await answer(Recorded(), "GET", f"/api/topics?limit={wrong}", b"")
    text = f"limit: must be a whole number from 1 to {MOST_TOPICS_LISTED}"
    assert (status, told["error"]) == (400, {"code": "bad_request", "message": text})


async def test_why_something_is_not_done_is_the_answer() -> None:
    body = {"error": {"code": "not_now", "message": "there is no drain"}}
    assert await answer(Recorded(), "DELETE", "/api/drain", b"") == (409, body)


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/metrics"), ("DELETE", "/api/upgrade"), ("PUT", "/api/drain")]
)
async def test_what_there_is_not_is_not_found(method: str, path: str) -> None:
    text = f"{method} {path}: there is no such thing"
    assert await answer(Recorded(), method, path, b"") == (
        404,
        {"error": {"code": "not_found", "message": text}},
    )


def test_each_operation_is_found_by_its_method_and_path() -> None:
    assert [find(each.method, each.path) for each in OPERATIONS] == list(OPERATIONS)
    assert methods_at("/api/drain") == ("DELETE", "GET", "POST")


def test_the_error_of_another_process_is_the_same_here() -> None:
    body = {"error": {"code": "unconfirmed", "message": "it may be"}}
    with pytest.raises(ControlError, match="it may be") as caught:
        result_of(Published, 504, body)
    assert (caught.value.status, caught.value.code) == (HTTPStatus.GATEWAY_TIMEOUT, "unconfirmed")
    assert result_of(Published, 200, {"id": "5-0", "recipients": 3, "later": 1}) == Published("5-0", 3)
