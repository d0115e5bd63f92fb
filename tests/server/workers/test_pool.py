"""Workers as their parent has them: started, succeeded, ended."""

import os
import signal
import socket

import pytest

from tests.support.fake_parent import LONGEST, FakeParent, draining, fake_parent
from tests.support.other_end import no_descriptor_left, pipes
from wsctl.codes import CLOSE_TIMEOUT, ExitCode
from wsctl.drain.phases import Phase
from wsctl.server.diagnostics.stop_time import WORKER_GRACE
from wsctl.server.workers.supervision import RESTART_PAUSE

pytestmark = pytest.mark.anyio

DONE = {
    "state": "done",
    "successor": 1002,
    "total": 0,
    "moved": 0,
    "staying": 0,
    "elapsed_s": 0.1,
    "silence_s": 0.0,
    "error": None,
}


async def test_each_is_told_who_it_is_and_given_the_sockets() -> None:
    async with fake_parent(2) as here:
        for n, worker in enumerate(await here.serving(), 1):
            hello = await worker.end.hear("hello")
            assert (hello.fields["number"], hello.fields["parent"]) == (n, 1000)
            with socket.socket(fileno=hello.fds.pop(1)) as sock:
                assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)


async def test_they_are_up_when_the_last_one_serves() -> None:
    async with fake_parent(2) as here:
        here.pool.start()
        one, other = here.workers.made
        one.serves()
        await here.until(lambda: here.pool.members[0].listening)
        assert not here.pool.up.is_set()
        other.end.say("listening")
        other.reports(status="starting")
        await here.until(lambda: here.pool.members[1].status)
        assert not here.pool.up.is_set()
        other.reports(status="serving")
        await here.until(here.pool.up.is_set)


async def test_a_signal_reaches_each_once() -> None:
    async with fake_parent(2) as here:
        made = await here.serving()
        here.pool.send_signal(signal.SIGINT)
        for worker in made:
            assert (await worker.end.hear("signal")).fields == {"signum": signal.SIGINT}
        here.pool.force()
        for worker in made:
            await worker.end.hear("force")
            assert worker.end.kinds == ["hello", "signal", "force"]


async def test_it_is_over_when_the_last_has_ended_and_the_code_is_the_worst() -> None:
    async with fake_parent(3) as here:
        one, two, three = await here.serving()
        here.pool.send_signal(signal.SIGTERM)
        one.reports(**draining(0, Phase.STOPPED))
        two.reports(exit_code=4, **draining(0, Phase.STOPPED))
        three.reports(**draining(3))
        await here.until(lambda: here.pool.exit_code == ExitCode.FORCED)
        here.dies(one, 0)
        here.dies(two, 4)
        await here.until(lambda: len(here.pool.all_workers) == 1)
        assert not here.pool.over.is_set()
        here.dies(three)
        await here.until(here.pool.over.is_set)
        assert here.pool.exit_code == ExitCode.FORCED
        whole = here.pool.progress()
        assert whole
        assert (whole.phase, whole.active, whole.left, whole.aborted) == (Phase.STOPPED, 0, 9, 3)


@pytest.mark.parametrize(("code", "meant"), [(-9, ExitCode.ERROR), (7, ExitCode.ERROR), (0, ExitCode.DONE)])
async def test_who_dies_in_a_drain_makes_it_fail(code: int, meant: ExitCode) -> None:
    async with fake_parent(1) as here:
        (worker,) = await here.serving()
        here.pool.send_signal(signal.SIGTERM)
        here.dies(worker, code)
        await here.until(here.pool.over.is_set)
        assert here.pool.exit_code == meant


async def test_who_cannot_start_ends_the_others_and_is_quoted_once() -> None:
    async with fake_parent(2) as here:
        here.pool.start()
        one, other = here.workers.made
        for worker, why in ((one, "no certificate"), (other, "none either")):
            worker.end.say("refused", why=why)
            await here.until(lambda: any(w.refused for w in here.pool.members))
            here.dies(worker, 3)
            await here.until(lambda: here.pool.refused)
        await here.until(here.pool.over.is_set)
        assert here.pool.refused == "no certificate"


async def test_who_cannot_start_later_is_tried_again_and_the_others_serve(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with fake_parent(3) as here:
        one, two, _ = await here.serving()
        for worker in (one, two):
            worker.end.say("refused", why="no Redis")
        await here.until(lambda: all(worker.refused for worker in here.pool.members[:2]))
        for worker in (one, two):
            here.dies(worker, 3)
        await here.until(lambda: len(here.pool.members) == 1)
        assert not here.pool.ending
        slot = here.pool.slots[0]
        assert slot.pending
        assert slot.restarts.next_pause(here.now) == RESTART_PAUSE  # it was not counted
        told = [r.fields for r in caplog.records if r.name == "wsctl.workers"]  # type: ignore[attr-defined]
        assert told == [{"why": "no Redis"}]
        here.pool.start()  # what is pending is left to its time
        await here.until(lambda: len(here.workers.made) == 5)
        assert slot.refusals == 1
        for worker in here.workers.made[3:]:
            worker.serves()
        await here.until(lambda: slot.refusals == 0)


async def test_who_cannot_start_in_a_drain_has_no_part_in_its_exit_code() -> None:
    async with fake_parent(1) as here:
        (worker,) = await here.serving()
        here.pool.send_signal(signal.SIGTERM)
        worker.end.say("refused", why="no Redis")
        await here.until(lambda: worker_refused(here))
        here.dies(worker, 3)
        await here.until(here.pool.over.is_set)
        assert here.pool.exit_code == ExitCode.DONE


def worker_refused(here: FakeParent) -> bool:
    return all(worker.refused for worker in here.pool.members)


async def test_who_hangs_is_killed_when_the_deadline_is_long_past(caplog: pytest.LogCaptureFixture) -> None:
    async with fake_parent(2) as here:
        one, hung = await here.serving()
        here.now = LONGEST * 2
        here.pool.kill_overdue()  # nobody was asked to end
        here.pool.send_signal(signal.SIGTERM)
        one.reports(**draining(1, remaining_s=9.0))
        await here.until(lambda: here.pool.members[0].drain)
        here.now += 9.0 + CLOSE_TIMEOUT + WORKER_GRACE - 1
        here.pool.kill_overdue()
        assert hung.code is None
        here.dies(one, 0)
        await here.until(lambda: len(here.pool.members) == 1)
        here.now += 1
        here.pool.kill_overdue()
        here.pool.reap()
        await here.until(here.pool.over.is_set)
        assert hung.code == -signal.SIGKILL
        assert here.pool.exit_code == ExitCode.ERROR
        assert "a worker hangs and is killed" in caplog.text


async def test_nobody_is_killed_for_a_drain_that_was_cancelled() -> None:
    async with fake_parent(1) as here:
        (worker,) = await here.serving()
        here.pool.mark_ending()
        here.pool.cancel_ending()
        here.now = LONGEST * 2
        here.pool.kill_overdue()
        assert worker.code is None


async def test_a_force_shortens_the_time_of_who_hangs() -> None:
    async with fake_parent(1) as here:
        (hung,) = await here.serving()
        here.pool.send_signal(signal.SIGTERM)
        here.pool.force()
        here.now = CLOSE_TIMEOUT + WORKER_GRACE
        here.pool.kill_overdue()
        assert hung.code == -signal.SIGKILL


async def test_who_succeeds_one_that_hung_has_time_of_its_own() -> None:
    async with fake_parent(1) as here:
        (hung,) = await here.serving()
        hung.end.say("successor", (), pipes(1))
        await here.until(lambda: here.pool.slots[0].successor)
        here.pool.send_signal(signal.SIGTERM)
        here.now = LONGEST + CLOSE_TIMEOUT + WORKER_GRACE
        here.pool.kill_overdue()
        here.pool.reap()
        await here.until(lambda: [worker.pid for worker in here.pool.members] == [1002])
        here.pool.kill_overdue()
        assert here.workers.made[1].code is None


async def test_a_successor_is_started_for_a_worker_and_takes_its_place() -> None:
    async with fake_parent(1) as here:
        (old,) = await here.serving()
        (pipe,) = pipes(1)
        meant = os.fstat(pipe).st_ino
        old.end.say("successor", (), [pipe])
        await here.until(lambda: here.pool.slots[0].successor)
        fresh = here.workers.made[1]
        assert fresh.predecessor == meant
        assert len((await fresh.end.hear("hello")).fds) == 1  # the sockets come from its predecessor
        assert [worker.pid for worker in here.pool.members] == [1001]
        fresh.serves()
        old.reports(upgrade=DONE)
        await here.until(lambda: [worker.pid for worker in here.pool.members] == [1002])
        here.dies(old, 0)
        await here.until(lambda: not here.pool.predecessors)
        assert len(here.workers.made) == 2
        here.pool.send_signal(signal.SIGTERM)
        await fresh.end.hear("signal")


async def test_a_successor_that_ends_is_told_of_and_one_that_is_given_up_is_killed() -> None:
    async with fake_parent(1) as here:
        (old,) = await here.serving()
        for _ in range(2):
            old.end.say("successor", (), pipes(1))
            await here.until(lambda: here.pool.slots[0].successor)
            old.end.say("kill")
            fresh = here.workers.made[-1]
            await here.until(lambda: fresh.code)  # noqa: B023
            here.pool.reap()
            assert (await old.end.hear("ended")).fields == {"code": -signal.SIGKILL}
        assert [worker.pid for worker in here.pool.members] == [1001]


async def test_a_successor_goes_on_for_a_worker_that_died_in_the_handover() -> None:
    async with fake_parent(1) as here:
        (old,) = await here.serving()
        old.end.say("successor", (), pipes(1))
        await here.until(lambda: here.pool.slots[0].successor)
        here.dies(old)
        await here.until(lambda: [worker.pid for worker in here.pool.members] == [1002])
        assert len(here.workers.made) == 2


async def test_a_second_successor_at_a_time_is_refused() -> None:
    async with fake_parent(1) as here:
        (old,) = await here.serving()
        old.end.say("successor", (), pipes(1))
        await here.until(lambda: here.pool.slots[0].successor)
        old.end.say("successor", (), pipes(1))
        assert (await old.end.hear("ended")).fields == {"code": ExitCode.ERROR}
        assert len(here.workers.made) == 2


async def test_who_is_to_be_started_again_is_not_started_twice() -> None:
    async with fake_parent(2) as here:
        one, _ = await here.serving()
        here.dies(one)
        await here.until(lambda: len(here.pool.members) == 1)
        here.pool.start()
        assert len(here.workers.made) == 2


async def test_no_descriptor_is_left() -> None:
    with no_descriptor_left():
        async with fake_parent(3) as here:
            old, *_ = await here.serving()
            old.end.say("successor", (), pipes(1))
            await here.until(lambda: here.pool.slots[0].successor)
            here.dies(old)
            await here.until(lambda: here.pool.members[0].pid == 1004)
