"""What the parent answers for all."""

import asyncio
import json
import signal
from collections.abc import Sequence
from typing import Any

import pytest

from tests.support.fake_journal import FakeHome
from tests.support.fake_parent import PID, FakeParent, draining, fake_parent
from tests.support.fake_worker import FACTS, FakeWorker
from tests.support.other_end import pipes
from tests.support.server import DEADLINE
from wsctl.control.status import ApplicationStatus, ClusterTotal, DeliveryTime, MessageCounts, OutboxStatus
from wsctl.drain.progress import ConnectedClient, ConnectionKind, RouteCount
from wsctl.ipc.rpc import Reply
from wsctl.log.message_log import MessageLog
from wsctl.server.metrics import family
from wsctl.server.workers import group_control
from wsctl.server.workers.rolling_upgrade import RollingUpgradeFailed, UpgradeState
from wsctl.server.workers.worker import FRESH

pytestmark = pytest.mark.anyio

CLOSING = {"error": {"code": "not_now", "message": "the server is closing"}}

BODY = b'{"data": 1}'

ENDED = {
    "state": "done",
    "successor": 7,
    "total": 2,
    "moved": 2,
    "staying": 0,
    "elapsed_s": 1.0,
    "silence_s": 0.5,
    "error": None,
}


async def answered(
    here: FakeParent, method: str, path: str, answers: Sequence[tuple[int, dict[str, Any]]], body: bytes = b""
) -> Reply:
    """What the parent answers, whose workers answer so."""
    asking = asyncio.create_task(here.control.answer(method, path, body))
    for worker, (status, told) in zip(list(here.workers.made), answers, strict=True):
        worker.answers(await worker.asked(method, path), status, **told)
    return await asking


async def test_the_status_is_the_sum() -> None:
    async with fake_parent(2) as here:
        one, other = await here.serving()
        one.reports(connections=3, newest_id="5-0", rates={"published": 0.5})
        other.reports(connections=4, newest_id="7-0", rates={"published": 2.0})
        await here.until(lambda: here.control.summary().connections == 7)
        facts = here.control.summary()
        assert (facts.pid, facts.status, facts.capacity) == (PID, "serving", 200)
        assert (facts.newest_id, facts.rates.published) == ("7-0", 2.0)
        assert [(row.pid, row.connections) for row in facts.workers or ()] == [(1001, 3), (1002, 4)]


async def test_the_clients_of_all_are_listed_oldest_first() -> None:
    async with fake_parent(2) as here:
        await here.serving()
        rows = [
            (200, FACTS | {"clients": [{"client_id": name, "connected_s": s}]})
            for name, s in (("a", 1), ("b", 2))
        ]
        reply = await answered(here, "GET", "/api/status?clients=true", rows)
        assert [row["client_id"] for row in reply.body["clients"]] == ["b", "a"]


async def test_a_client_with_connections_at_several_workers_is_told_with_their_number() -> None:
    async with fake_parent(2) as here:
        await here.serving()
        rows = [
            (200, FACTS | {"clients": [{"client_id": name, "connected_s": s} for name, s in clients]})
            for clients in ([("a", 1), ("b", 2)], [("a", 3)])
        ]
        reply = await answered(here, "GET", "/api/status?clients=true", rows)
        found = [(row["client_id"], row.get("connections")) for row in reply.body["clients"]]
        assert found == [("a", 2), ("b", None), ("a", 2)]


def topic_row(topic: str, subscribers: int, messages: int = 0, newest_id: str | None = None) -> Any:
    sizes = {"messages": messages, "bytes": 10 * messages, "newest_id": newest_id}
    return {"topic": topic, "subscribers": subscribers, **sizes}


async def test_topics_are_those_of_all_workers_as_the_best_informed_tells_them() -> None:
    async with fake_parent(3) as here:
        await here.serving()
        # One worker has not heard of the newest message yet, and another one not of the newest client.
        one = [topic_row("a", 1), topic_row("b", 1, 3, "9-0"), topic_row("c", 1)]
        other = [topic_row("a", 1), topic_row("b", 2, 2, "8-0"), topic_row("c", 1), topic_row("d", 1)]
        answers = [
            (200, {"topics": one, "more": False}),
            (200, {"topics": other, "more": False}),
            (404, {"error": {"code": "not_found", "message": "an older version"}}),
        ]
        reply = await answered(here, "GET", "/api/topics?limit=3", answers)
        rows = [topic_row("a", 1), topic_row("b", 2, 3, "9-0"), topic_row("c", 1)]
        assert reply == Reply(200, {"topics": rows, "more": True})


async def test_there_are_more_topics_where_a_worker_has_more() -> None:
    async with fake_parent(1) as here:
        await here.serving()
        told = {"topics": [topic_row("a", 1)], "more": True}
        assert await answered(here, "GET", "/api/topics?limit=1", [(200, told)]) == Reply(200, told)


BOB = {"client_id": "bob", "connected_s": 2.0, "waiting_bytes": 4}
EVE = {"client_id": "eve", "connected_s": 1.0, "waiting_bytes": 5}


async def test_what_waits_is_added_up_and_the_delivery_time_is_that_of_all_offers() -> None:
    async with fake_parent(2) as here:
        one, other = await here.serving()
        one.reports(
            connections=1,
            pending=1,
            outbox={"clients": 1, "bytes": 4, "largest": 4, "slowest": [BOB]},
            delivery={"offers": 1, "mean_s": 0.4, "longest_s": 0.5},
        )
        other.reports(
            connections=2,
            pending=2,
            outbox={"clients": 2, "bytes": 6, "largest": 5, "slowest": [EVE]},
            delivery={"offers": 3, "mean_s": 0.2, "longest_s": 0.25},
        )
        await here.until(lambda: here.control.summary().connections == 3)
        facts = here.control.summary()
        slowest = ConnectedClient("eve", 1.0, 5), ConnectedClient("bob", 2.0, 4)
        assert (facts.pending, facts.outbox) == (3, OutboxStatus(3, 10, 5, slowest))
        assert facts.delivery == DeliveryTime(4, 0.25, 0.5)


async def test_the_load_is_that_of_all() -> None:
    async with fake_parent(2) as here:
        one, other = await here.serving()
        one.reports(connections=1)
        other.reports(connections=2)
        await here.until(lambda: here.control.summary().connections == 3)
        here.control.recent.check(0.0)
        reply = await here.control.answer("GET", "/api/load", b"")
        assert [sample["connections"] for sample in reply.body["samples"]] == [3]


async def test_subscriptions_are_added_up_and_all_keep_the_same_topics() -> None:
    async with fake_parent(2) as here:
        one, other = await here.serving()
        one.reports(connections=1, subscriptions=3, topics=2, streams=1)
        other.reports(connections=2, subscriptions=4, topics=2, streams=2)
        await here.until(lambda: here.control.summary().connections == 3)
        assert (here.control.summary().subscriptions, here.control.summary().topics) == (7, 2)
        assert here.control.summary().streams == 3


async def test_the_connections_of_an_application_are_those_of_all_workers() -> None:
    def own(count: int) -> dict[str, Any]:
        route = {"kind": "websocket", "route": "/ws", "connections": count}
        return {"websockets": count, "responses": 1, "routes": [route]}

    async with fake_parent(2) as here:
        one, other = await here.serving()
        assert here.control.summary().application is None
        one.reports(connections=5, application=own(3))
        other.reports(connections=4, application=own(2))
        await here.until(lambda: here.control.summary().connections == 9)
        status = here.control.summary()
        routes = (RouteCount(ConnectionKind.WEBSOCKET, "/ws", 5),)
        assert status.application == ApplicationStatus(websockets=5, responses=2, routes=routes)
        assert [worker.of_application for worker in status.workers or ()] == [4, 3]


async def test_the_metrics_are_of_those_who_answer_and_say_who_does_not() -> None:
    async with fake_parent(3) as here:
        one, other, _ = await here.serving()
        here.now += FRESH + 1
        for worker in (one, other):
            worker.reports(connections=1)
        await here.until(lambda: here.control.summary().connections == 2)
        asking = asyncio.create_task(here.control.answer("GET", "/api/metrics", b""))
        answer = family.encode_families([family.gauge("wsctl_connections", "Clients.", 1)])
        one.answers(await one.asked("GET", "/api/metrics"), 200, **answer)
        other.answers(await other.asked("GET", "/api/metrics"), 503, error={"code": "closing"})
        up, connections = family.decode_families((await asking).body)
        assert [(s.labels["worker"], s.value) for s in up.samples] == [("1", 1), ("2", 0), ("3", 0)]
        assert [(s.labels, s.value) for s in connections.samples] == [({"worker": "1"}, 1)]


async def test_what_all_refuse_is_refused_in_the_first_ones_words() -> None:
    async with fake_parent(2) as here:
        await here.serving()
        for method in ("POST", "DELETE"):
            assert await answered(here, method, "/api/drain", [(409, CLOSING)] * 2) == Reply(409, CLOSING)
        assert not here.pool.ending


async def test_a_drain_by_request_ends_in_an_answer_for_who_waited() -> None:
    async with fake_parent(2) as here:
        one, other = await here.serving()
        waiting = asyncio.create_task(here.control.answer("GET", "/api/drain", b""))
        asking = asyncio.create_task(here.control.answer("POST", "/api/drain", json.dumps({}).encode()))
        for worker in (one, other):
            n = await worker.asked("POST", "/api/drain")
            worker.reports(**draining(2))
            worker.answers(n, 200, status="draining", drain=None)
        begun = await asking
        assert (begun.body["status"], begun.body["drain"]["active"]) == ("draining", 4)
        one.reports(**draining(0, phase="stopped"))  # type: ignore[arg-type]
        other.reports(exit_code=4, **draining(0, phase="stopped"))  # type: ignore[arg-type]
        end = await waiting
        assert (end.body["drain"]["phase"], end.body["drain"]["left"], end.body["exit_code"]) == (
            "stopped",
            8,
            4,
        )


async def test_a_cancelled_drain_is_told_to_who_waited() -> None:
    async with fake_parent(1) as here:
        await here.serving()
        waiting = asyncio.create_task(here.control.answer("GET", "/api/drain", b""))
        await answered(here, "POST", "/api/drain", [(200, {"drain": None})])
        assert here.pool.ending
        undone = await answered(here, "DELETE", "/api/drain", [(200, {"status": "serving"})])
        assert undone == Reply(200, {"status": "serving", "drain": None})
        assert (await waiting).body["drain"] is None
        assert (here.cancelled, here.pool.ending) == (1, False)


async def hands_over(here: FakeParent, worker: FakeWorker, **outcome: Any) -> None:
    """A worker is asked for a handover, which ends so."""
    worker.answers(await worker.asked("POST", "/api/upgrade"), 202, upgrade=None)
    worker.reports(upgrade=ENDED | outcome)


async def test_an_upgrade_is_of_one_after_the_other() -> None:
    async with fake_parent(2) as here:
        one, other = await here.serving()
        waiting = asyncio.create_task(here.control.answer("GET", "/api/upgrade", b""))
        begun = await here.control.answer("POST", "/api/upgrade", b"")
        assert (begun.status, begun.body["upgrade"]["state"]) == (202, "starting")
        again = await here.control.answer("POST", "/api/upgrade", b"")
        assert (again.status, again.body["error"]["code"]) == (409, "not_now")
        drain = await here.control.answer("POST", "/api/drain", b"")
        assert (drain.status, drain.body["error"]["code"]) == (409, "not_now")
        await hands_over(here, one)
        await hands_over(here, other, staying=1, silence_s=0.25)
        end = (await waiting).body["upgrade"]
        assert (end["state"], end["successor"], end["error"]) == ("done", PID, None)
        assert (end["moved"], end["staying"], end["silence_s"]) == (4, 1, 0.5)
        assert [progress.state for progress in here.told] == ["starting", "done"]


async def upgrading(worker: FakeWorker) -> bool:
    """What a worker is told next of an upgrade."""
    told: bool = (await worker.end.hear("upgrading")).fields["under_way"]
    return told


@pytest.mark.parametrize("fails", [False, True])
async def test_workers_are_told_of_an_upgrade_and_its_end_and_those_started_meanwhile_too(
    fails: bool,
) -> None:
    async with fake_parent(2) as here:
        one, other = await here.serving()
        assert (await one.end.hear("hello")).fields["upgrading"] is False
        await here.control.answer("POST", "/api/upgrade", b"")
        assert [await upgrading(each) for each in (one, other)] == [True, True]
        asked = await one.asked("POST", "/api/upgrade")
        one.end.say("successor", (), pipes(1))
        await here.until(lambda: here.pool.slots[0].successor)
        late = here.workers.made[2]
        assert (await late.end.hear("hello")).fields["upgrading"] is True
        one.answers(asked, 202, upgrade=None)
        one.reports(upgrade=ENDED | ({"state": "failed", "error": "why"} if fails else {}))
        if not fails:
            await hands_over(here, other)
        assert [await upgrading(each) for each in (one, other, late)] == [False, False, False]


async def test_an_upgrade_that_fails_leaves_the_rest_as_it_is() -> None:
    async with fake_parent(3) as here:
        one, two, three = await here.serving()
        waiting = asyncio.create_task(here.control.answer("GET", "/api/upgrade", b""))
        await here.control.answer("POST", "/api/upgrade", b"")
        await hands_over(here, one)
        await hands_over(here, two, state="failed", moved=0, error="it was not ready")
        end = (await waiting).body["upgrade"]
        assert end["state"] == "failed"
        assert end["error"] == "worker 2: it was not ready; 1 of 3 workers were replaced"
        assert "ask" not in three.end.kinds


@pytest.mark.parametrize("how", ["refuses", "dies"])
async def test_a_worker_that_does_not_hand_over_is_named(how: str) -> None:
    async with fake_parent(1) as here:
        (worker,) = await here.serving()
        waiting = asyncio.create_task(here.control.answer("GET", "/api/upgrade", b""))
        await here.control.answer("POST", "/api/upgrade", b"")
        n = await worker.asked("POST", "/api/upgrade")
        if how == "refuses":
            worker.answers(n, 409, **CLOSING)
        else:
            worker.answers(n, 202, upgrade=None)
            here.dies(worker)
        end = (await waiting).body["upgrade"]
        assert end["state"] == "failed"
        assert end["error"].startswith("worker 1")


async def test_what_there_is_not_is_not_found() -> None:
    async with fake_parent(1) as here:
        await here.serving()
        assert (await here.control.answer("GET", "/metrics", b"")).status == 404


async def test_what_is_shared_one_worker_publishes() -> None:
    async with fake_parent(2) as here:
        one, other = await here.serving()
        asking = asyncio.create_task(here.control.answer("POST", "/api/broadcast", BODY))
        one.answers(await one.asked("POST", "/api/broadcast"), 200, id="5-0", recipients=7)
        assert await asking == Reply(200, {"id": "5-0", "recipients": 7})
        assert "ask" not in other.end.kinds


async def test_who_goes_without_an_answer_may_have_published_so_nobody_else_does() -> None:
    async with fake_parent(2) as here:
        one, other = await here.serving()
        asking = asyncio.create_task(here.control.answer("POST", "/api/broadcast", BODY))
        await one.asked("POST", "/api/broadcast")
        here.dies(one)
        reply = await asking
        assert (reply.status, reply.body["error"]["code"]) == (504, "unconfirmed")
        assert "may still be delivered" in reply.body["error"]["message"]
        assert "ask" not in other.end.kinds


async def test_who_was_not_heard_of_lately_publishes_last() -> None:
    async with fake_parent(2) as here:
        _, other = await here.serving()
        here.now = FRESH + 1
        other.reports(connections=1)
        await here.until(lambda: here.control.summary().connections)
        asking = asyncio.create_task(here.control.answer("POST", "/api/broadcast", BODY))
        other.answers(await other.asked("POST", "/api/broadcast"), 200, id="5-0", recipients=7)
        assert (await asking).status == 200


async def test_without_a_worker_nothing_is_published() -> None:
    async with fake_parent(1) as here:
        reply = await here.control.answer("POST", "/api/broadcast", BODY)
        assert (reply.status, reply.body["error"]["code"]) == (409, "not_now")


def shared(own: str, published: int, **facts: Any) -> dict[str, Any]:
    """What one of two nodes tells that share a Redis."""
    return {
        "degraded": None,
        "redis": {"state": "up"},
        "cluster": {"nodes": 3, "connections": 0},
        "nodes": [{"node": node, "this": node == own} for node in ("a", "b", "x")],
        "messages": {"published": published, "delivered": 2},
        "rates": {"published": published / 10, "delivered": 0.2},
    } | facts


async def test_what_is_shared_is_counted_once() -> None:
    async with fake_parent(2) as here:
        one, other = await here.serving()
        one.reports(connections=1, **shared("a", 9))
        other.reports(connections=1, **shared("b", 7))
        await here.until(lambda: here.control.summary().connections == 2)
        facts = here.control.summary()
        assert facts.messages == MessageCounts(9, 0, 4)
        assert facts.rates == MessageCounts(0.9, 0, 0.4)
        assert (facts.degraded, facts.cluster) == (None, ClusterTotal(3, 0))
        assert facts.redis
        assert facts.redis.is_up
        assert [node.node for node in facts.nodes or () if node.this] == ["a", "b"]


async def test_who_hangs_is_not_believed_about_what_is_shared() -> None:
    async with fake_parent(2) as here:
        one, other = await here.serving()
        one.reports(connections=1, **shared("a", 9))
        await here.until(lambda: here.control.summary().connections == 1)
        here.now = FRESH + 1
        other.reports(connections=1, **shared("b", 7, degraded="Redis is away"))
        await here.until(lambda: here.control.summary().connections == 2)
        facts = here.control.summary()
        assert (facts.degraded, facts.rates.published) == ("Redis is away", 0.7)


async def test_the_parent_that_keeps_the_log_knows_what_was_published_and_whether_that_works() -> None:
    messages = MessageLog(lambda entry: 0)
    async with fake_parent(2, messages) as here:
        one, other = await here.serving()
        messages.append("server", 1)
        messages.append("server", 2)
        one.reports(connections=1, messages={"published": 1, "received": 3})
        other.reports(connections=1, messages={"published": 2, "received": 4})
        await here.until(lambda: here.control.summary().connections == 2)
        facts = here.control.summary()
        assert facts.messages == MessageCounts(2, 7, 0)
        assert facts.newest_id == messages.newest
        assert [facts.degraded, facts.redis, facts.nodes, facts.cluster] == [None] * 4


async def test_the_journal_of_the_parent_is_in_the_status_and_beside_the_metrics_of_workers() -> None:
    log = MessageLog(lambda entry: 0)
    log.home = home = FakeHome(waiting=3)
    async with fake_parent(2, log) as here:
        await here.serving()
        home.committed(0.002, 5)
        state = here.control.summary().journal
        assert state is not None
        assert (state.path, state.state, state.waiting) == (home.path, "up", 3)
        told = family.encode_families([family.gauge("wsctl_x", "X.", 1)])
        reply = await answered(here, "GET", "/api/metrics", [(200, told), (200, told)])
        found = {each.name: each for each in family.decode_families(reply.body)}
        assert len(found["wsctl_x"].samples) == 2
        (committed,) = found["wsctl_journal_committed_messages"].samples
        assert (committed.labels, committed.value) == ({}, 5)


async def test_the_newest_id_is_no_matter_of_spelling() -> None:
    async with fake_parent(2) as here:
        one, other = await here.serving()
        one.reports(connections=1, newest_id="5-9")
        other.reports(connections=1, newest_id="5-10")
        await here.until(lambda: here.control.summary().connections == 2)
        assert here.control.summary().newest_id == "5-10"


async def test_each_client_of_nodes_that_share_is_listed_once() -> None:
    def row(name: str, node: str, seconds: float, address: str | None = None) -> dict[str, Any]:
        known = {"client_id": name, "address": address, "connected_s": seconds}
        return known | {"waiting_bytes": None, "node": node}

    async with fake_parent(2) as here:
        await here.serving()
        far = row("far", "x", 3.0)
        one = {**FACTS, **shared("a", 0), "clients": [row("al", "a", 1.0, "h:1"), row("bo", "b", 2.1), far]}
        other = {
            **FACTS,
            **shared("b", 0),
            "clients": [row("bo", "b", 2.0, "h:2"), row("gone", "a", 9.0), far],
        }
        reply = await answered(here, "GET", "/api/status?clients=true", [(200, one), (200, other)])
        assert reply.body["clients"] == [far, row("bo", "b", 2.0, "h:2"), row("al", "a", 1.0, "h:1")]


async def test_who_does_not_answer_in_time_is_named_and_the_others_are_not_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        group_control, "REPLY_TIMEOUT", 2 * DEADLINE
    )  # what the first answer is waited for, and no other
    async with fake_parent(2) as here, asyncio.timeout(DEADLINE):
        one, other = await here.serving()
        asking = asyncio.create_task(here.control.answer("POST", "/api/drain", b""))
        one.answers(await one.asked("POST", "/api/drain"), 200, status="draining", drain=None)
        assert (await asking).body["silent"] == [{"number": 2, "pid": other.pid}]
        asking = asyncio.create_task(here.control.answer("GET", "/api/status?clients=true", b""))
        one.answers(await one.asked("GET", "/api/status?clients=true"), 200, **FACTS, clients=[])
        rows = (await asking).body["workers"]
        assert [row["silent"] for row in rows] == [False, True]


async def test_an_upgrade_does_not_begin_while_a_worker_hangs() -> None:
    async with fake_parent(2) as here:
        one, other = await here.serving()
        here.now += FRESH + 1
        one.reports(connections=1)
        await here.until(lambda: here.control.summary().connections)
        refused = await here.control.answer("POST", "/api/upgrade", b"")
        assert (refused.status, refused.body["error"]["code"]) == (409, "not_now")
        told = f"worker 2 (pid {other.pid}) does not answer: end it with kill -9, another one is started"
        assert refused.body["error"]["message"] == told
        here.now += FRESH + 1
        refused = await here.control.answer("POST", "/api/upgrade", b"")
        told = (
            f"worker 1 (pid {one.pid}) and worker 2 (pid {other.pid}) do not answer: end them with kill -9, "
        )
        assert refused.body["error"]["message"] == f"{told}others are started"


@pytest.mark.parametrize("fails", [True, False])
async def test_an_upgrade_renews_the_parent_first_and_replaces_no_worker_if_that_fails(fails: bool) -> None:
    async def renew() -> None:
        if fails:
            raise RollingUpgradeFailed("the new program cannot go on: it is broken")

    async with fake_parent(1) as here:
        (worker,) = await here.serving()
        here.renew = renew
        waiting = asyncio.create_task(here.control.answer("GET", "/api/upgrade", b""))
        await here.control.answer("POST", "/api/upgrade", b"")
        if not fails:
            await hands_over(here, worker)
        end = (await waiting).body["upgrade"]
        assert end["state"] == ("failed" if fails else "done")
        assert ("ask" in worker.end.kinds) is not fails
        if fails:
            assert end["error"] == (
                "the new program cannot go on: it is broken; 0 of 1 workers were replaced"
            )


async def test_a_renewed_parent_goes_on_with_the_upgrade_and_who_waits_is_answered() -> None:
    async with fake_parent(1) as here:
        (worker,) = await here.serving()
        ready, here.now = asyncio.Event(), 2.5
        here.upgrade.go_on(UpgradeState(began=1.0, total=7), ready)
        assert here.upgrade.under_way
        assert await upgrading(worker)
        waiting = asyncio.create_task(here.control.answer("GET", "/api/upgrade", b""))
        here.control.release_waiters()  # of a drain: the upgrade has its own end
        ready.set()
        await hands_over(here, worker)
        end = (await waiting).body["upgrade"]
        assert (end["state"], end["elapsed_s"], end["total"]) == ("done", 1.5, 7)


async def test_an_upgrade_of_a_server_that_has_ended_meanwhile_has_failed() -> None:
    async with fake_parent(1) as here:
        (worker,) = await here.serving()
        ready = asyncio.Event()
        here.upgrade.go_on(UpgradeState(began=0.0, total=0), ready)
        waiting = asyncio.create_task(here.control.answer("GET", "/api/upgrade", b""))
        here.pool.send_signal(signal.SIGTERM)
        here.dies(worker, 0)
        await here.until(here.pool.over.is_set)
        ready.set()
        end = (await waiting).body["upgrade"]
        assert end["state"] == "failed"
        assert end["error"].startswith("the server was stopped meanwhile")


async def test_an_upgrade_that_is_given_up_has_failed() -> None:
    async with fake_parent(1) as here:
        await here.serving()
        here.upgrade.go_on(UpgradeState(began=0.0, total=0), asyncio.Event())
        waiting = asyncio.create_task(here.control.answer("GET", "/api/upgrade", b""))
        await asyncio.sleep(0)
        await here.upgrade.close()
        end = (await waiting).body["upgrade"]
        assert (end["state"], end["error"]) == ("failed", "the server was stopped meanwhile")


async def test_a_worker_that_ended_before_it_was_asked_is_as_good_as_replaced() -> None:
    async with fake_parent(1) as here:
        (worker,) = await here.serving()
        waiting = asyncio.create_task(here.control.answer("GET", "/api/upgrade", b""))
        await here.control.answer("POST", "/api/upgrade", b"")
        await worker.asked("POST", "/api/upgrade")
        here.dies(worker)
        assert (await waiting).body["upgrade"]["state"] == "done"
