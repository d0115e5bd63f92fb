"""The log of all workers in their parent, with workers that are no processes."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.support.worker_peer import WorkerPeer, until_heard
from wsctl.codes import ErrorCode
from wsctl.ipc.framing import Packet
from wsctl.log.home import Draft, Home, Key, Refusal
from wsctl.log.refusals import AWAY, CONFIRM_TIMEOUT, LATE, UNCONFIRMED
from wsctl.server.workers.draft_queue import UNANSWERED
from wsctl.server.workers.group_log import GroupLog
from wsctl.server.workers.parent_home import ALONE, NO_TOPICS, WORKERS

pytestmark = pytest.mark.anyio


class Group:
    """A parent's log, and workers of it. A client may have so many connections."""

    def __init__(self, per_client: int = 1) -> None:
        self.log = GroupLog(100, 1 << 20, most_behind=1 << 20, per_client=per_client)
        self.workers: list[WorkerPeer] = []

    def add(self, number: int = 1, **how: int) -> WorkerPeer:
        self.workers.append(WorkerPeer(self.log, number, **how))
        return self.workers[-1]

    async def two(self) -> tuple[WorkerPeer, WorkerPeer]:
        return await self.add(1).begun(), await self.add(2).begun()

    def close(self) -> None:
        for worker in self.workers:
            worker.close()
            worker.parents.channel.close()


@pytest.fixture
async def group() -> AsyncIterator[Group]:
    found = Group()
    yield found
    found.close()


@pytest.fixture
async def group_of_two_each() -> AsyncIterator[Group]:
    found = Group(per_client=2)
    yield found
    found.close()


async def test_a_receipt_counts_the_clients_of_all_workers(group: Group) -> None:
    one, other = await group.two()
    one.join("al", "bo")
    other.join("eve")
    await until_heard(one, other)
    assert (await one.receipt_of("to all"))[1] == 3
    assert (await one.receipt_of("to two", ("eve", "al", "nobody")))[1] == 2
    other.leave("eve")
    await until_heard(other)
    assert (await other.receipt_of("to eve", ("eve",)))[1] == 0


async def test_the_connection_that_the_parent_heard_of_last_stays(group: Group) -> None:
    one, other = await group.two()
    one.join("al")
    await until_heard(one)
    other.join("al")
    await one.hears(("replaced", "al"))
    assert ("replaced", "al") not in other.told
    one.join("al")  # again, before it could hear of the next one
    other.join("al")
    await until_heard(one, other, one, other)
    assert len(one.clients | other.clients) == 1
    assert (await one.receipt_of("to al", ("al",)))[1] == 1


async def test_an_older_connection_is_not_taken_for_the_newer_one_of_its_worker(group: Group) -> None:
    one, other = await group.two()
    one.join("al")
    await until_heard(one)
    other.join("al")
    one.leave("al")
    one.join("al")  # before it hears that the older one is replaced
    await other.hears(("replaced", "al"))
    await until_heard(one, other)
    assert (one.clients, other.clients) == ({"al"}, set())


async def test_a_worker_that_is_started_later_has_the_history(group: Group) -> None:
    one = await group.add(1).begun()
    for n in range(30):
        await one.receipt_of(n)
    late = await group.add(2).begun()
    assert [e.id for e in late.log.history.entries()] == [e.id for e in one.log.history.entries()]
    assert late.log.newest == one.log.newest
    await one.receipt_of("more")
    await late.hears("more")


async def test_the_clients_of_a_process_that_ended_are_gone(group: Group) -> None:
    one, other = await group.two()
    one.join("al")
    other.join("bo")
    await until_heard(one, other)
    one.close()
    while len(group.log.presence) > 1:  # noqa: ASYNC110
        await asyncio.sleep(0.001)
    assert (await other.receipt_of("who is there"))[1] == 1


async def test_a_repeated_draft_is_published_once(group: Group) -> None:
    one, other = await group.two()
    await one.receipt_of("first")
    key = Key(one.log.writer, 1)
    other.home.publish(Draft(key, "x", "first", again=True))
    await until_heard(other)
    await other.receipt_of("second")
    assert [message.data for message in one.got] == ["first", "second"]


async def test_what_a_worker_publishes_for_its_predecessor_is_answered_as_its_own_is(group: Group) -> None:
    one, other = await group.two()
    text = "x" * (UNANSWERED // 4)
    for n in range(1, 9):
        one.home.publish(Draft(Key("predecessor", n), "x", f"{n} {text}"))
        await one.hears(f"{n} {text}")
    assert (await one.receipt_of("goes on"))[0]
    await other.hears("goes on")


async def test_a_worker_that_is_too_far_behind_is_killed_and_harms_nobody(group: Group) -> None:
    one, other = await group.two()
    other.join("bo")
    await until_heard(other)
    loop = asyncio.get_running_loop()
    loop.remove_reader(other.channel._sock)  # it is stopped
    text = "x" * (100 << 10)
    for n in range(30):
        assert (await one.receipt_of(f"{n} {text}"))[0]
        if other.parents.killed:
            break
    assert other.parents.killed
    assert group.log.presence.count(None) == 0
    assert (await one.receipt_of("goes on"))[1] == 0


async def test_one_message_above_the_bound_kills_nobody(group: Group) -> None:
    one, other = await group.two()
    text = "x" * (3 << 20)
    await one.receipt_of(text)
    await other.hears(text)
    assert not one.parents.killed
    assert not other.parents.killed


async def test_without_a_parent_everything_is_refused(group: Group) -> None:
    one = await group.add().begun()
    one.log.append("x", "sent", refused=lambda why: one.refusals.update(sent=why))
    one.parents.channel.close()
    await one.hears("away")
    assert one.home.why == ALONE
    one.say("later")
    assert one.refusals["later"] == AWAY
    await one.settle()
    assert one.refusals["sent"] in (UNCONFIRMED, AWAY)


async def test_a_parent_that_does_not_answer_leaves_what_it_was_sent_unconfirmed(group: Group) -> None:
    one = await group.add().begun()
    loop = asyncio.get_running_loop()
    loop.remove_reader(one.parents.channel._sock)  # it is stopped
    text = "x" * (1 << 20)
    for n in range(8):
        one.say(f"{n} {text}")
    await one.settle()
    kinds = [why for _, why in sorted(one.refusals.items())]
    assert UNCONFIRMED in kinds
    assert LATE in kinds
    assert kinds.index(LATE) == kinds.count(UNCONFIRMED), "what was sent, and then what was not"
    loop.add_reader(one.parents.channel._sock, one.parents.channel._readable)
    assert (await one.receipt_of("goes on"))[0]
    unsent = {data for data, why in one.refusals.items() if why == LATE}
    assert not unsent & {message.data for message in one.got}


class BrokenHome(Home):
    """It publishes nothing."""

    why = "it is broken"
    refuse = staticmethod(lambda key, why: None)

    def publish(self, draft: Draft) -> None:
        self.refuse(draft.key, Refusal(ErrorCode.DEGRADED, "broken"))


async def test_clients_of_all_workers_hear_that_the_home_of_the_parent_is_away(group: Group) -> None:
    one, other = await group.two()
    home = BrokenHome()
    home.refuse = group.log.log.refuse  # type: ignore[method-assign, assignment]
    group.log.log.move_to(home)
    group.log.log.cut_off("it is broken")
    await one.hears("away")
    await other.hears("away")
    assert one.home.why == other.home.why == "it is broken"
    one.say("x")
    await one.settle()
    assert one.refusals["x"] == Refusal(ErrorCode.DEGRADED, "broken")
    late = await group.add(3).begun()
    assert late.home.why == "it is broken"
    group.log.log.back(recovered=True)
    await one.hears("back")
    assert one.home.why is None


async def test_what_came_to_a_predecessor_first_is_not_taken_again(group: Group) -> None:
    old = await group.add().begun()
    new = group.add()
    await new.home.prepare()
    loop = asyncio.get_running_loop()
    loop.remove_reader(new.channel._sock)  # it is slower
    await old.receipt_of("first")
    point = await old.home.suspend()
    new.log.restore(old.log.position, old.log.history.floor, old.log.history.entries())
    new.home.resume_at(point or {}, ())
    loop.add_reader(new.channel._sock, new.channel._readable)
    await new.receipt_of("second")
    assert [message.data for message in new.got] == ["second"]
    assert [entry.id for entry in new.log.history.entries()] == sorted(
        entry.id for entry in group.log.log.history.entries()
    )


async def test_another_program_goes_on_from_the_state(group: Group) -> None:
    one, other = await group.two()
    one.join("al")
    other.join("bo")
    await until_heard(one, other)
    first = await one.receipt_of("first")
    await group.log.suspend()
    one.say("under way")
    await until_heard(one)
    state = group.log.state()
    then = GroupLog(100, 1 << 20)
    then.resume_at(state, {worker.parents.pid: worker.parents for worker in (one, other)})
    for worker in (one, other):
        worker.parents._group = then
    assert then.log.newest == group.log.log.newest
    await one.settle()
    other.home.publish(Draft(Key(one.log.writer, 1), "x", "first", again=True))
    assert (await other.receipt_of("second", ("al", "bo")))[1] == 2
    assert [message.data for message in one.got] == ["first", "under way", "second"]
    assert then.log.history.entries()[0].id == tuple(map(int, first[0].split("-")))
    assert then.log.published == 3
    one.join("bo")
    await other.hears(("replaced", "bo"))


async def test_while_the_parent_becomes_another_program_what_is_published_waits_for_it(group: Group) -> None:
    one = await group.add().begun()
    loop, passed = asyncio.get_running_loop(), asyncio.Event()
    await group.log.suspend()
    await until_heard(one)
    loop.remove_reader(one.parents.channel._sock)
    one.say("late")
    loop.call_later(CONFIRM_TIMEOUT * 1.2, passed.set)
    await passed.wait()
    assert not one.refusals
    group.log.resume()
    loop.add_reader(one.parents.channel._sock, one.parents.channel._readable)
    await one.settle()
    assert not one.refusals
    assert [message.data for message in one.got] == ["late"]


# Topics


async def test_recipients_are_the_connections_of_all_workers_that_subscribe(group_of_two_each: Group) -> None:
    one, other = await group_of_two_each.two()
    bo = one.connect("bo", "a.b", ">")
    other.connect("bo", "a.*")
    eve = other.connect("eve")
    await until_heard(one, other)
    assert [await one.count(topic=topic) for topic in ("a.b", "a.c", "d")] == [2, 2, 1]
    assert [await one.count(), await one.count(("bo",)), await one.count(("eve",), "a.b")] == [3, 2, 0]
    one.subscribe(bo, "d")
    other.subscribe(eve, "a.b")
    await until_heard(one, other)
    assert [await one.count(topic=topic) for topic in ("a.b", "a.c", "d")] == [2, 1, 1]
    assert await other.count(("eve", "nobody"), "a.b") == 1
    one.disconnect(bo)
    await until_heard(one)
    assert await one.count(topic="d") == 0


async def test_the_oldest_connection_of_a_client_with_too_many_ends_wherever_it_is(
    group_of_two_each: Group,
) -> None:
    one, other = await group_of_two_each.two()
    first = one.connect("al")
    await until_heard(one)
    second = other.connect("al")
    await until_heard(other)
    third = other.connect("al")
    await one.hears(("replaced", "al"))
    await until_heard(one, other)
    assert first not in one.connections
    assert set(other.connections) == {second, third}
    assert await one.count(("al",)) == 2
    one.connect("al")
    await other.hears(("replaced", "al"))
    assert set(other.connections) == {third}


async def test_each_worker_knows_who_subscribes_at_the_others(group: Group) -> None:
    one, other = await group.two()
    al = one.connect("al", "a.b", "c")
    one.connect("bo")
    eve = other.connect("eve", "a.*")
    await until_heard(one, other, one, other)
    assert (one.presence.clients("a.b"), other.presence.clients("a.b")) == ({"eve": 1}, {"al": 1})
    late = await group.add(3).begun()
    await until_heard(late)
    assert late.presence.clients("a.b") == {"al": 1, "eve": 1}
    one.subscribe(al, "c")
    other.disconnect(eve)
    await until_heard(one, other, late)
    assert (late.presence.clients("a.b"), late.presence.clients("c")) == ({}, {"al": 1})
    one.close()
    while late.presence.clients("c"):  # noqa: ASYNC110
        await asyncio.sleep(0.001)


async def test_a_worker_that_another_process_replaces_is_no_news_for_the_others(group: Group) -> None:
    old, other = await group.two()
    told: list[object] = []
    al = old.connect("al", "a")
    bo = other.connect("bo", "a")
    await until_heard(old, other, old)
    other.presence.observers.append(told.append)
    new = group.add(1)
    await new.home.prepare()
    point = await old.home.suspend()
    here = [old.connections[al]]
    new.home.resume_at(point or {}, here)
    await until_heard(new, other, new)
    assert new.presence.serials(WORKERS) == {bo}
    old.close()
    await until_heard(new, other)
    assert (told, other.presence.serials(WORKERS)) == ([], {al})
    new.close()
    while other.presence.clients("a"):  # noqa: ASYNC110
        await asyncio.sleep(0.001)
    assert len(told) == 1


async def test_a_process_that_goes_on_because_its_successor_died_has_not_lost_its_clients(
    group: Group,
) -> None:
    old, other = await group.two()
    told: list[object] = []
    al = old.connect("al", "a")
    await until_heard(old, other)
    other.presence.observers.append(told.append)
    new = group.add(1)
    await new.home.prepare()
    point = await old.home.suspend()
    new.home.resume_at(point or {}, [old.connections[al]])
    await until_heard(new)
    new.close()
    while new.parents in group.log._following:  # noqa: ASYNC110
        await asyncio.sleep(0.001)
    old.home.resume([old.connections[al]])
    await until_heard(old, other)
    assert (told, other.presence.serials(WORKERS)) == ([], {al})


async def test_the_clients_of_a_process_that_died_before_it_was_replaced_are_gone(group: Group) -> None:
    old, other = await group.two()
    old.connect("al", "a")
    await until_heard(old, other)
    new = group.add(1)
    await new.home.prepare()
    old.close()
    while old.parents in group.log._following:  # noqa: ASYNC110
        await asyncio.sleep(0.001)
    await new.begun()
    new.connect("bo", "a")
    await until_heard(new, other)
    assert other.presence.clients("a") == {"bo": 1}
    assert await other.count() == 1


async def test_a_worker_of_an_earlier_release_gets_no_message_with_a_topic(group: Group) -> None:
    one = await group.add(1).begun()
    older = group.add(2)
    older.channel.send("follow", {"history": True})
    await older.home._answer.wait()
    older.home._take_arrived()
    older.channel.send("joined", {"id": "al", "serial": 1})
    one.connect("bo", "a")
    await one.receipt_of("topical", topic="a")
    await one.receipt_of("for all")
    await older.hears("for all")
    assert [message.data for message in older.got] == ["for all"]
    assert not older.presence.rows()
    assert (await one.count(), await one.count(topic="a")) == (2, 1)


async def test_who_goes_on_for_a_worker_of_an_earlier_release_has_the_messages_with_topics(
    group: Group,
) -> None:
    one = await group.add(1).begun()
    old = group.add(2)
    old.channel.send("follow", {"history": True})
    await old.home._answer.wait()
    old.home._take_arrived()
    await one.receipt_of("for all")
    await one.receipt_of("topical", topic="a")
    new = group.add(2)
    await new.home.prepare()
    await one.receipt_of("while it prepares", topic="b")
    await one.receipt_of("to both")
    await old.hears("to both")
    point = await old.home.suspend()
    new.log.restore(old.log.position, old.log.history.floor, old.log.history.entries())
    new.home.resume_at(point or {}, ())
    await one.receipt_of("later", topic="a")
    await new.hears("later")
    assert [entry.id for entry in new.log.history.entries()] == [
        entry.id for entry in one.log.history.entries()
    ]
    assert [message.data for message in old.got] == ["for all", "to both"]


async def test_a_parent_of_an_earlier_release_gets_no_message_with_a_topic(group: Group) -> None:
    one = await group.add(1).begun()
    one.home.receive(Packet("begun", {"why": None}, [], []))
    one.say("topical", topic="a")
    assert one.refusals["topical"] == NO_TOPICS
    await one.receipt_of("for all")
    one.home.receive(Packet("renewed", {"topics": True}, [], []))
    await one.receipt_of("topical again", topic="a")


async def test_another_program_goes_on_with_what_is_subscribed(group_of_two_each: Group) -> None:
    group = group_of_two_each
    one, other = await group.two()
    one.connect("al", "a")
    other.connect("al", "a", "b")
    other.connect("eve")
    await until_heard(one, other)
    state = group.log.state()
    then = GroupLog(100, 1 << 20, per_client=2)
    then.resume_at(state, {worker.parents.pid: worker.parents for worker in (one, other)})
    for worker in (one, other):
        worker.parents._group = then
    assert [await one.count(topic=topic) for topic in ("a", "b")] == [2, 1]
    one.connect("eve", "b")
    await until_heard(one, other)
    assert other.presence.clients("b") == {"eve": 1}
    one.connect("al")
    await one.hears(("replaced", "al"))
