"""The log of all workers in their parent, with workers that are no processes."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.support.worker_peer import WorkerPeer, until_heard
from wsctl.codes import ErrorCode
from wsctl.log.home import Draft, Home, Key, Refusal
from wsctl.log.refusals import AWAY, CONFIRM_TIMEOUT, LATE, UNCONFIRMED
from wsctl.server.workers.group_log import GroupLog
from wsctl.server.workers.parent_home import GONE

pytestmark = pytest.mark.anyio


class Group:
    """A parent's log, and workers of it."""

    def __init__(self) -> None:
        self.log = GroupLog(100, 1 << 20, most_behind=1 << 20)
        self.workers: list[WorkerPeer] = []

    def add(self, number: int = 1, **how: int) -> WorkerPeer:
        self.workers.append(WorkerPeer(self.log, number, **how))
        return self.workers[-1]

    async def two(self) -> tuple[WorkerPeer, WorkerPeer]:
        return await self.add(1).begun(), await self.add(2).begun()


@pytest.fixture
async def group() -> AsyncIterator[Group]:
    found = Group()
    yield found
    for worker in found.workers:
        worker.close()
        worker.parents.channel.close()


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
    assert one.home.why == GONE
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
