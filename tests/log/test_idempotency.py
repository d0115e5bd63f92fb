"""A message that a publisher publishes again by its key is published once."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.log.test_home import LogHandover
from tests.support.peer import Speaker
from tests.support.server import DEADLINE
from tests.support.worker_peer import WorkerPeer
from wsctl.codes import ErrorCode
from wsctl.log.home import Draft, Home, Refusal
from wsctl.log.idempotency import MOST_KEYS, TTL, SeenKeys
from wsctl.log.message_log import MessageLog
from wsctl.server.workers.group_log import GroupLog

pytestmark = pytest.mark.anyio

WHY = Refusal(ErrorCode.DEGRADED, "no room")


class Answers:
    """The answers to messages, by their data."""

    def __init__(self) -> None:
        self.of: dict[Any, tuple[str, Any]] = {}

    def publish(self, log: MessageLog, data: Any, key: str, sender: str = "x") -> None:
        def answer(what: str) -> Callable[..., None]:
            def note(*told: Any) -> None:
                assert data not in self.of
                self.of[data] = what, told[0]

            return note

        refused, repeated = answer("refused"), answer("repeated")
        receipt = answer("receipt")
        log.append(sender, data, None, receipt, refused=refused, idempotency_key=key, repeated=repeated)

    async def answer(self, data: Any) -> tuple[str, Any]:
        async with asyncio.timeout(DEADLINE):
            while data not in self.of:  # noqa: ASYNC110
                await asyncio.sleep(0.002)
        return self.of[data]


def test_a_key_is_forgotten_after_its_time() -> None:
    now = [0.0]
    keys = SeenKeys(lambda: now[0])
    keys.add("a", (1, 0))
    now[0] = TTL - 1
    keys.add("b", (2, 0))
    assert (keys.find("a"), keys.find("b"), keys.find("c")) == ((1, 0), (2, 0), None)
    now[0] = TTL
    assert (keys.find("a"), keys.find("b")) == (None, (2, 0))
    assert len(keys) == 1


def test_the_newest_keys_are_remembered() -> None:
    keys = SeenKeys(lambda: 0.0)
    for n in range(MOST_KEYS + 10):
        keys.add(f"{n}", (n, 0))
    assert len(keys) == MOST_KEYS
    assert keys.find("9") is None
    assert keys.find("10") == (10, 0)


def test_another_process_remembers_for_the_rest_of_the_time() -> None:
    now = [0.0]
    one, other = SeenKeys(lambda: now[0]), SeenKeys(lambda: 1000 + now[0])
    one.add("a", (1, 0))
    now[0] = 100.0
    other.add("b", (2, 0))
    other.restore(json.loads(json.dumps(one.rows())))
    now[0] = TTL - 0.1
    assert (other.find("a"), other.find("b")) == ((1, 0), (2, 0))
    now[0] = TTL
    assert (other.find("a"), other.find("b")) == (None, (2, 0))


async def test_the_first_with_a_key_is_published_and_the_others_get_its_id() -> None:
    speaker, answers = Speaker(), Answers()
    for data in ("first", "second"):
        answers.publish(speaker.log, data, "k")
    answers.publish(speaker.log, "another", "l")
    answers.publish(speaker.log, "of another", "k", "eve")
    first = speaker.got[0].id
    assert answers.of["first"] == ("receipt", first)
    assert answers.of["second"] == ("repeated", first)
    assert [message.data for message in speaker.got] == ["first", "another", "of another"]


async def test_who_cannot_be_told_gets_a_receipt_without_clients() -> None:
    speaker = Speaker()
    told: list[tuple[str, int]] = []
    speaker.clients = {"bob"}
    for _ in range(2):
        speaker.log.append("x", 1, None, lambda *receipt: told.append(receipt), idempotency_key="k")
    assert told == [(speaker.log.newest, 1), (speaker.log.newest, 0)]


async def test_what_is_not_json_leaves_its_key_unused() -> None:
    speaker, answers = Speaker(), Answers()
    with pytest.raises(ValueError, match="JSON"):
        answers.publish(speaker.log, float("nan"), "k")
    answers.publish(speaker.log, "right", "k")
    assert answers.of["right"][0] == "receipt"


class Slow(Home):
    """A home that answers when it is told to."""

    def __init__(self) -> None:
        self.drafts: list[Draft] = []

    def publish(self, draft: Draft) -> None:
        self.drafts.append(draft)


@pytest.mark.parametrize("moves", [False, True])
async def test_those_that_come_while_the_first_is_under_way_are_answered_with_it(moves: bool) -> None:
    speaker, answers, home = Speaker(), Answers(), Slow()
    speaker.log.move_to(home)
    for data in range(3):
        answers.publish(speaker.log, data, "k")
        answers.publish(speaker.log, f"other {data}", "l")
    if moves:
        home = Slow()
        speaker.log.move_to(home)
    assert [draft.data for draft in home.drafts] == [0, "other 0"]
    first, other = home.drafts
    speaker.log.refuse(first.key, WHY)
    assert answers.of == dict.fromkeys(range(3), ("refused", WHY))
    answers.publish(speaker.log, "again", "k")
    assert home.drafts[-1].data == "again"
    speaker.log.repeat(other.key, (5, 0))
    assert answers.of["other 0"] == ("receipt", "5-0")
    assert answers.of["other 1"] == answers.of["other 2"] == ("repeated", "5-0")
    answers.publish(speaker.log, "late", "l")
    assert answers.of["late"] == ("repeated", "5-0")


async def test_those_that_wait_for_one_that_a_new_home_publishes_get_its_id() -> None:
    speaker, answers = Speaker(), Answers()
    memory = speaker.log.home
    speaker.log.move_to(Slow())
    for data in range(2):
        answers.publish(speaker.log, data, "k")
    speaker.log.move_to(memory)
    assert answers.of == {0: ("receipt", speaker.log.newest), 1: ("repeated", speaker.log.newest)}


async def test_it_is_published_once_by_all_workers() -> None:
    group, answers = GroupLog(100, 1 << 20), Answers()
    workers = [await WorkerPeer(group, number).begun() for number in (1, 2)]
    answers.publish(workers[0].log, "first", "k")
    kind, first = await answers.answer("first")
    assert kind == "receipt"
    for n, worker in enumerate(workers):
        answers.publish(worker.log, n, "k")
        assert await answers.answer(n) == ("repeated", first)
    assert [entry.id for entry in group.log.history.entries()] == [group.log.position]
    for worker in workers:
        worker.close()
        worker.parents.channel.close()


async def test_it_is_published_once_by_both_processes_of_a_handover() -> None:
    old, new, answers = Speaker(), Speaker(), Answers()
    answers.publish(old.log, "before", "b")
    handover = LogHandover(old, new)
    await handover.begin()
    answers.publish(old.log, "first", "k")
    _, first = await answers.answer("first")
    for name, log in (("old", old.log), ("new", new.log)):
        answers.publish(log, name, "k")
        assert await answers.answer(name) == ("repeated", first)
        answers.publish(log, f"{name} b", "b")
        assert await answers.answer(f"{name} b") == ("repeated", answers.of["before"][1])
    assert [message.data for message in new.got] == ["before", "first"]
    await handover.end()
