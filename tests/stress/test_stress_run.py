"""A stress run, on a server without sockets."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.support.server import DEADLINE
from tests.support.stress import FakeSession, Hub
from wsctl.client.events import (
    Closed,
    ConnectFailed,
    Event,
    HandshakeRefused,
    Moved,
    Opened,
    Received,
    ServerDegraded,
    ServerRestored,
)
from wsctl.errors import Refused, Unreachable, WsctlError
from wsctl.stress.statistics import RunStatistics
from wsctl.stress.stress_run import CATCH_UP, CONNECTING, Publisher, StressPlan, StressRun
from wsctl.stress.topic_plan import TopicPlan

pytestmark = pytest.mark.anyio

IDS = ("a-1", "a-2", "a-3")


def plan(duration: float = 0.2, servers: tuple[str, ...] = ("http://a",)) -> StressPlan:
    return StressPlan(ids=IDS, servers=servers, duration=duration, rate=200.0, size=64)


def refuse(code: str) -> Received:
    return Received({"type": "error", "code": code, "message": "no"})


async def carried_out(run: StressRun) -> None:
    async with asyncio.timeout(DEADLINE):
        await run.run()


def after(count: int, hub: Hub, act: Callable[[], None]) -> None:
    """Do something once so many messages were sent."""
    publish = hub.publish

    def counted(sender: str, text: str) -> None:
        publish(sender, text)
        if len(hub.sent) == count:
            act()

    hub.publish = counted  # type: ignore[method-assign]


async def test_a_server_that_delivers_everything_gives_a_clean_report() -> None:
    hub = Hub()
    run = StressRun(plan(), hub.session)
    await carried_out(run)
    report = run.report()
    assert report.clean
    assert report.sent == len(hub.sent) > 3
    assert report.delivered == report.expected == 3 * report.sent
    assert report.duration_s >= 0.19
    # How it leaves is its own doing, and no finding.
    assert all(session.closed for session in hub.sessions.values())
    assert (report.connected, report.close_codes) == (3, {})


def with_topics(hub: Hub, count: int) -> StressPlan:
    """A plan whose topics the hub knows the subscribers of."""
    topics = TopicPlan(count)
    for number, clients in enumerate(topics.subscribers(len(IDS))):
        hub.subscribers[topics.name(number)] = {IDS[client] for client in clients}
    return replace(plan(), topics=topics)


async def test_messages_are_spread_over_topics_and_each_is_for_its_subscribers() -> None:
    hub = Hub()
    run = StressRun(with_topics(hub, 3), hub.session)
    await carried_out(run)
    report = run.report()
    assert report.clean, report
    assert report.delivered == report.expected == 2 * report.sent > 6


async def test_who_gets_what_it_does_not_subscribe_to_is_found_out() -> None:
    hub = Hub()
    run_of = with_topics(hub, 3)
    hub.subscribers["stress.2"] |= {"a-3"}
    run = StressRun(run_of, hub.session)
    await carried_out(run)
    report = run.report()
    assert report.not_subscribed > 0
    assert (report.missed, report.clean) == (0, False)


async def test_a_message_under_another_topic_is_not_taken_for_it() -> None:
    hub = Hub()
    run = StressRun(with_topics(hub, 3), hub.session)
    hub.deliver = lambda session, frame: session.tell(Received(frame | {"topic": "stress.1"}))
    await carried_out(run)
    report = run.report()
    assert report.not_subscribed > 0
    assert report.missed == report.not_subscribed


async def test_a_subscriber_that_is_left_out_misses_it() -> None:
    hub = Hub()
    run_of = with_topics(hub, 3)
    hub.subscribers["stress.2"] -= {"a-2"}
    run = StressRun(run_of, hub.session, settle=0.05)
    await carried_out(run)
    report = run.report()
    assert report.missed == report.sent // 3 + (report.sent % 3 > 1)


async def test_a_server_that_permits_no_such_topic_ends_it() -> None:
    hub = Hub()
    run = StressRun(with_topics(hub, 2), hub.session)
    hub.publish = lambda sender, text, topic=None: hub.sessions[sender].tell(  # type: ignore[method-assign]
        refuse("topic_not_allowed")
    )
    with pytest.raises(WsctlError, match=r"^http://a does not permit its clients the topics stress\.>$"):
        await carried_out(run)


async def test_nothing_is_sent_before_all_are_connected() -> None:
    hub = Hub()
    run = StressRun(plan(), hub.session)
    late = hub.sessions["a-3"]
    late.first = Received({"type": "heartbeat"})
    task = asyncio.create_task(carried_out(run))
    for session in hub.sessions.values():
        await session.idle.wait()
    assert run.report().connected == 2
    assert not run.publishing
    assert not hub.sent
    late.tell(Opened({}))
    await task
    assert run.report().clean
    assert run.publishing


async def test_only_so_many_handshakes_are_under_way_at_a_time() -> None:
    hub = Hub()
    ids = tuple(f"a-{n}" for n in range(CONNECTING + 50))
    run = StressRun(StressPlan(ids=ids, servers=("http://a",), duration=0.1, rate=10.0, size=64), hub.session)
    clients = list(hub.sessions.values())
    for client in clients:
        client.first = Received({"type": "heartbeat"})
    task = asyncio.create_task(carried_out(run))
    await clients[CONNECTING - 1].idle.wait()
    assert not any(client.idle.is_set() for client in clients[CONNECTING:])
    for client in clients:
        client.tell(Opened({}))
    await task
    assert run.report().connected == len(ids)


async def test_one_delivery_left_out_is_missed() -> None:
    hub = Hub()

    def forgetful(session: FakeSession, frame: dict[str, Any]) -> None:
        if session.name != "a-2" or len(hub.sent) != 2:
            session.tell(Received(frame))

    hub.deliver = forgetful
    run = StressRun(plan(), hub.session, settle=0.1)
    await carried_out(run)
    assert (run.report().missed, run.report().duplicated) == (1, 0)


async def test_a_server_that_swallows_messages_is_found_out() -> None:
    hub = Hub()
    hub.deliver = lambda session, frame: None
    run = StressRun(plan(), hub.session, settle=0.1)
    await carried_out(run)
    assert run.report().missed == 3 * run.report().sent > 0
    assert not run.report().clean


async def test_what_is_on_its_way_at_the_end_is_waited_for() -> None:
    hub = Hub()
    held: list[tuple[FakeSession, dict[str, Any]]] = []
    hub.deliver = lambda session, frame: held.append((session, frame))
    run = StressRun(plan(), hub.session, settle=DEADLINE)

    def release() -> None:
        for session, frame in held:
            session.tell(Received(frame))

    asyncio.get_running_loop().call_later(0.6, release)
    await carried_out(run)
    assert run.report().clean
    assert run.report().delivered == len(held) > 0


async def test_stopping_ends_it_early() -> None:
    hub = Hub()
    run = StressRun(plan(duration=3600), hub.session)
    after(5, hub, run.stop)
    await carried_out(run)
    assert run.stopped
    assert run.report().clean


@pytest.mark.parametrize(
    ("first", "error", "text"),
    [
        (ConnectFailed("cannot connect to there: nobody"), Unreachable, "cannot connect to there"),
        (
            HandshakeRefused(503, "full", "the server is full"),
            Refused,
            "client a-2 with HTTP 503: the server is",
        ),
        (Closed(1001, "draining"), Refused, "closed client a-2 with 1001: draining"),
        (Closed(4501, "replaced"), Refused, "choose another --id"),
    ],
)
async def test_a_client_that_cannot_connect_ends_it(first: Event, error: type[Exception], text: str) -> None:
    hub = Hub()
    run = StressRun(plan(), hub.session)
    hub.sessions["a-2"].first = first
    with pytest.raises(error, match=text):
        await carried_out(run)
    assert not hub.sent
    assert all(session.closed for session in hub.sessions.values())


async def test_a_server_that_takes_no_messages_ends_it() -> None:
    hub = Hub()
    run = StressRun(plan(duration=3600), hub.session)
    hub.deliver = lambda session, frame: session.tell(refuse("publish_disabled"))
    with pytest.raises(WsctlError, match="takes no messages from clients"):
        await carried_out(run)


async def test_a_server_that_limits_the_rate_misses_nothing() -> None:
    hub = Hub()
    run = StressRun(plan(), hub.session, settle=0.1)
    hub.deliver = lambda session, frame: session.tell(refuse("rate_limited"))
    await carried_out(run)
    report = run.report()
    assert report.errors["rate_limited"] > 0
    assert (report.missed, report.unconfirmed) == (0, report.sent)


async def test_a_connection_lost_on_the_way_is_counted_and_the_run_goes_on() -> None:
    hub = Hub()
    run = StressRun(plan(duration=3600), hub.session, settle=0.1)
    lost = hub.sessions["a-3"]
    after(5, hub, lambda: lost.tell(Closed(1012, "restart")))
    after(20, hub, run.stop)
    await carried_out(run)
    report = run.report()
    assert (report.connected, report.close_codes) == (2, {1012: 1})
    assert set(hub.sent[-4:]) == {"a-1", "a-2"}
    assert not report.clean


async def test_who_is_on_the_way_back_at_the_end_is_waited_for() -> None:
    hub = Hub()
    run = StressRun(plan(duration=3600), hub.session, settle=DEADLINE)
    moving = hub.sessions["a-3"]

    def end() -> None:
        moving.tell(Moved())
        run.stop()
        asyncio.get_running_loop().call_later(0.1, moving.tell, Opened({"recovered": True}, since="0-1"))

    after(5, hub, end)
    await carried_out(run)
    report = run.report()
    assert (report.connected, report.planned, report.resumed, report.clean) == (3, 1, 1, True)


# Servers that are degraded


DEGRADED = {"type": "error", "code": "degraded", "message": "Redis is away"}


@pytest.mark.parametrize(
    "first", [ServerDegraded(DEGRADED), Received(DEGRADED), Opened({"server": {"degraded": True}})]
)
async def test_a_run_does_not_begin_on_a_degraded_server(first: Event) -> None:
    hub = Hub()
    run = StressRun(plan(), hub.session)
    hub.sessions["a-2"].first = first
    with pytest.raises(WsctlError, match="http://a is degraded"):
        await carried_out(run)
    assert not hub.sent


async def test_what_is_refused_while_a_server_is_degraded_is_not_missed_and_what_comes_after_is_due() -> None:
    hub = Hub()
    run = StressRun(plan(duration=3600), hub.session, settle=0.1)

    def fall() -> None:
        hub.deliver = lambda session, frame: session.tell(Received(DEGRADED))
        for session in hub.sessions.values():
            session.tell(ServerDegraded(DEGRADED))

    def rise() -> None:
        hub.deliver = lambda session, frame: session.tell(Received(frame))
        for session in hub.sessions.values():
            session.tell(ServerRestored({"recovered": True}))

    for count, act in ((5, fall), (10, rise), (20, run.stop)):
        after(count, hub, act)
    await carried_out(run)
    report = run.report()
    assert (report.missed, report.degraded, report.reconnects) == (0, 3, 0)
    assert 0 < report.unconfirmed <= 6
    assert report.errors["degraded"] > 0


# Several servers


AB = ("http://a", "http://b")


async def test_clients_are_dealt_to_the_servers_and_counted_there() -> None:
    hub = Hub(*AB)
    run = StressRun(plan(servers=AB), hub.session)
    await carried_out(run)
    report = run.report()
    assert (report.clean, report.servers) == (True, {"http://a": 2, "http://b": 1})


async def test_a_client_that_changed_its_server_is_counted_at_the_new_one() -> None:
    hub = Hub(*AB)
    run = StressRun(plan(duration=3600, servers=AB), hub.session)
    moving = hub.sessions["a-1"]

    def move() -> None:
        moving.tell(Closed(1012, "restart"))
        moving.tell(Opened({"recovered": True}, since="0-1", server="http://b"))

    after(5, hub, move)
    after(20, hub, run.stop)
    await carried_out(run)
    assert run.report().servers == {"http://a": 1, "http://b": 2}


async def test_servers_that_do_not_share_their_messages_are_said_not_to() -> None:
    hub = Hub(*AB)

    def island(session: FakeSession, frame: dict[str, Any]) -> None:
        if session.server == hub.sessions[frame["from"]].server:
            session.tell(Received(frame))

    hub.deliver = island
    run = StressRun(plan(duration=3600, servers=AB), hub.session, settle=0.1)
    with pytest.raises(WsctlError, match="what http://a takes does not arrive at http://b"):
        await carried_out(run)
    assert not run.publishing


async def test_a_server_lost_while_the_cluster_is_checked_is_named() -> None:
    hub = Hub(*AB)
    run = StressRun(plan(servers=AB), hub.session, settle=DEADLINE)
    hub.deliver = lambda session, frame: hub.sessions["a-2"].tell(Closed(1012, "restart"))
    with pytest.raises(Refused, match="http://b closed client a-2 with 1012"):
        await carried_out(run)


async def test_a_bug_in_a_session_is_not_hidden() -> None:
    hub = Hub()
    run = StressRun(plan(duration=3600), hub.session)
    after(5, hub, lambda: hub.sessions["a-1"].tell(ZeroDivisionError("a bug")))
    with pytest.raises(ZeroDivisionError):
        await carried_out(run)


class Time:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 100.0

    async def sleep(self, seconds: float) -> None:
        self.now += max(0.0, seconds)
        await asyncio.sleep(0)


class Publishing:
    """A publisher of ten messages a second for these clients, and when it sent what."""

    def __init__(self, *connected: int) -> None:
        self.hub, self.statistics, self.time = Hub(), RunStatistics(IDS), Time()
        self.clients = [self.hub.session(name) for name in IDS]
        self.times: list[float] = []
        self.hold_up = 0.0
        for client in connected:
            self.statistics.record(client, Opened({}), 0.0)

    async def until(self, count: int) -> None:
        """Publish until so many messages were sent."""
        enough = asyncio.Event()

        def sent(*_: object) -> None:
            if len(self.hub.sent) > len(self.times):
                self.times.append(self.time.now)
                self.time.now += self.hold_up
                self.hold_up = 0.0
            if len(self.times) >= count:
                enough.set()

        self.hub.deliver = sent
        publisher = Publisher(
            self.clients,
            self.statistics,
            rate=10.0,
            size=64,
            clock=lambda: self.time.now,
            sleep=self.time.sleep,
        )
        task = asyncio.create_task(publisher.run())
        async with asyncio.timeout(DEADLINE):
            await enough.wait()
        task.cancel()
        await asyncio.wait([task])


async def test_clients_send_in_turn() -> None:
    run = Publishing(0, 1, 2)
    await run.until(6)
    assert run.hub.sent[:6] == ["a-1", "a-2", "a-3"] * 2


async def test_messages_are_evenly_spaced() -> None:
    run = Publishing(0, 1, 2)
    await run.until(5)
    assert run.times[:5] == pytest.approx([100.0, 100.1, 100.2, 100.3, 100.4])


async def test_nobody_sends_more_because_another_is_away() -> None:
    run = Publishing(0, 2)
    await run.until(4)
    assert run.hub.sent[:4] == ["a-1", "a-3"] * 2
    assert run.times[:4] == pytest.approx([100.0, 100.2, 100.3, 100.5])


async def test_a_message_that_could_not_be_sent_is_unconfirmed() -> None:
    run = Publishing(0, 1)
    run.clients[0].connected = False
    await run.until(1)
    assert run.hub.sent[0] == "a-2"
    assert run.statistics.ledger.unconfirmed >= 1


async def test_a_short_delay_is_made_up_for() -> None:
    run = Publishing(0, 1, 2)
    run.hold_up = 0.35
    await run.until(6)
    assert run.times[:6] == pytest.approx([100.0, 100.35, 100.35, 100.35, 100.4, 100.5])


async def test_of_a_long_delay_only_the_last_second_is_made_up_for() -> None:
    run = Publishing(0, 1, 2)
    run.hold_up = 60.0
    await run.until(20)
    at_once = sum(at == pytest.approx(160.0) for at in run.times)
    assert at_once == pytest.approx(10 * CATCH_UP + 1, abs=1)
