"""The commands of a client, and their answers."""

import json
from typing import Any

import pytest

from wsctl.client.commands import CommandRefused, Commands

pytestmark = pytest.mark.anyio


async def test_a_command_is_text_with_a_ref_and_without_what_is_not_given() -> None:
    commands = Commands()
    first = commands.begin("publish", {"data": "é", "topic": None})
    second = commands.begin("subscribe", {"topics": ["a.>"]})
    assert first.text == '{"type":"publish","ref":1,"data":"é"}'
    assert json.loads(second.text) == {"type": "subscribe", "ref": 2, "topics": ["a.>"]}


@pytest.mark.parametrize(
    ("data", "error"), [("\ud800", ValueError), (float("nan"), ValueError), (b"x", TypeError)]
)
async def test_what_is_not_json_cannot_be_sent(data: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        _ = Commands().begin("publish", {"data": data}).text


async def test_each_answer_goes_to_its_command_in_any_order() -> None:
    commands = Commands()
    first, second = commands.begin("publish", {}), commands.begin("publish", {})
    assert commands.receive({"type": "ok", "ref": 2, "id": "5-0"}) is second
    assert commands.receive({"type": "error", "ref": 1, "code": "rate_limited", "message": "slower"}) is first
    assert (await second.answer)["id"] == "5-0"
    with pytest.raises(CommandRefused, match=r"^slower \(rate_limited\)$") as caught:
        await first.answer
    assert caught.value.code == "rate_limited"


@pytest.mark.parametrize("ref", [None, "1", 2, 1.5, [1]])
async def test_any_other_frame_answers_nothing(ref: object) -> None:
    commands = Commands()
    command = commands.begin("publish", {})
    assert commands.receive({"type": "ok", "ref": ref}) is None
    assert not command.answer.done()
    assert commands.receive({"type": "message"}) is None


async def test_an_answer_is_taken_once_and_not_when_nobody_waits() -> None:
    commands = Commands()
    command = commands.begin("publish", {})
    assert commands.receive({"type": "ok", "ref": 1})
    assert commands.receive({"type": "ok", "ref": 1}) is None
    forgotten = commands.begin("publish", {})
    commands.forget(forgotten)
    assert commands.receive({"type": "ok", "ref": 2}) is None
    assert command.answer.done()
    assert not forgotten.answer.done()


async def test_the_end_of_a_connection_is_the_answer_to_all_that_wait() -> None:
    commands = Commands()
    command = commands.begin("publish", {})
    commands.disconnect(ConnectionError("over"))
    with pytest.raises(ConnectionError, match="over"):
        await command.answer
    assert commands.begin("publish", {}).ref == 2
