"""Metrics say what status, drain and health say."""

from typing import Any

import pytest

from tests.support.scrapes import Scrape, complaints
from tests.support.wires import MakeServer, client, closing, turn
from wsctl.codes import ErrorCode
from wsctl.control.encoding import encode
from wsctl.drain.phases import Phase
from wsctl.frame import TEXT
from wsctl.hub.connection import EndReason
from wsctl.server.metrics import scrape
from wsctl.server.metrics.facts import families
from wsctl.server.metrics.family import Family
from wsctl.server.node import Node
from wsctl.server.node_control import sources_of
from wsctl.server.websocket.command_handler import UNKNOWN
from wsctl.server.websocket.commands import SHAPES
from wsctl.settings import Rate

pytestmark = pytest.mark.anyio

TELLING = "telling-id"


def seen(node: Node) -> Scrape:
    return Scrape(scrape.encode(families(sources_of(node)), "application/openmetrics-text")[0].decode())


async def test_the_numbers_are_those_of_the_status(make_server: MakeServer) -> None:
    server = make_server(max_connections=50)
    server.node.started()
    for name in ("alice", "bob"):
        _, transport = server.join(name)
        transport.protocol.data_received(client(TEXT, b"hello"))
    await turn()
    scrape, facts = seen(server.node), server.node.reporter.status()
    assert scrape("wsctl_connections") == facts.connections == 2
    assert scrape("wsctl_connections_limit") == facts.capacity == 50
    assert scrape("wsctl_uptime_seconds") == facts.uptime_s
    assert scrape("wsctl_generation") == facts.generation
    for what in ("published", "received", "delivered"):
        assert scrape(f"wsctl_messages_{what}_total") == getattr(facts.messages, what) > 0
    assert scrape("wsctl_log_position_timestamp_seconds") == int(facts.newest_id.split("-")[0]) / 1000
    assert scrape("wsctl_history_messages") == 2
    assert scrape("wsctl_received_bytes_total") == 2 * len(client(TEXT, b"hello"))
    assert scrape("wsctl_sent_bytes_total") == sum(len(t.drain()) for t in server.transports)


async def test_topics_are_counted_and_none_is_a_label(make_server: MakeServer) -> None:
    server = make_server()
    wire, _ = server.join("bob")
    server.node.manager.subscribe(wire, {f"{TELLING}.*": False, "news": False})
    for topic in (f"{TELLING}.1", f"{TELLING}.2", f"{TELLING}.2", None):
        server.node.log.append("server", 1, topic=topic)
    scrape = seen(server.node)
    assert scrape("wsctl_subscriptions") == 2
    assert scrape("wsctl_history_topics") == 2
    assert scrape("wsctl_topic_messages_published_total") == 3
    assert scrape("wsctl_messages_published_total") == 4
    assert TELLING not in scrape.text


async def test_commands_are_counted_by_type_and_refusals_by_code(make_server: MakeServer) -> None:
    server = make_server()
    _, speaking = server.join("bob", commands=True)
    _, plain = server.join("eve")
    assert seen(server.node)("wsctl_commands_total", command="subscribe") == 0
    for text in (
        b'{"type":"subscribe","topics":["a"]}',
        b'{"type":"presence","topic":"a.*"}',
        b'{"type":"publish","data":1,"topic":"a"}',
        b"hello",
    ):
        speaking.protocol.data_received(client(TEXT, text))
    plain.protocol.data_received(client(TEXT, b"hello"))
    server.node.intake.tell(server.node.manager.clients["eve"], "too_rude", "say please")
    await turn()
    scrape = seen(server.node)
    counts = {kind: scrape("wsctl_commands_total", command=kind) for kind in (*SHAPES, UNKNOWN)}
    assert counts == dict.fromkeys(SHAPES, 0) | {"subscribe": 1, "publish": 1, "unknown": 2}
    refused = {code: scrape("wsctl_frames_refused_total", code=code) for code in (*ErrorCode, "application")}
    expected = {"bad_topic": 1, "bad_command": 1, "application": 1}
    assert refused == dict.fromkeys(refused, 0) | expected


async def test_one_phase_is_on(make_server: MakeServer) -> None:
    node = make_server().node
    for phase in (Phase.STARTING, Phase.SERVING):
        scrape = seen(node)
        assert [p for p in Phase if scrape("wsctl_phase", wsctl_phase=p)] == [phase]
        if phase is Phase.STARTING:
            node.started()


async def test_closes_are_counted_by_code_and_those_of_peers_under_other(make_server: MakeServer) -> None:
    server = make_server()
    for code in (1000, 1001, 1011, 3999, 4999):
        _, transport = server.join(f"c{code}")
        transport.protocol.data_received(closing(code))
    server.join("twice")
    server.join("twice")
    scrape = seen(server.node)
    closed = {code: scrape("wsctl_connections_closed_total", code=code) for code in ("1000", "1011", "4501")}
    assert closed == {"1000": 1, "1011": 1, "4501": 1}
    assert scrape("wsctl_connections_closed_total", code="other") == 2
    assert scrape("wsctl_connections_closed_total", code="1012") == 0
    assert scrape("wsctl_connections_closed_total", code="3999") is None
    assert scrape("wsctl_connections_opened_total") == 7


async def test_the_outbox_is_what_waits_and_a_slow_client_is_counted(make_server: MakeServer) -> None:
    server = make_server(max_queue=50_000)
    slow, _ = server.join("slow")
    server.publish("." * 40_000)
    await turn()
    scrape = seen(server.node)
    assert slow.waiting > 0
    assert scrape("wsctl_outbox_bytes") == scrape("wsctl_outbox_largest_bytes") == slow.waiting
    told = server.node.reporter.status().outbox.slowest
    assert [(each.client_id, each.waiting_bytes) for each in told] == [("slow", slow.waiting)]
    assert scrape("wsctl_outbox_limit_bytes") == 50_000
    assert (scrape("wsctl_clients_behind"), scrape("wsctl_slow_clients_cut_total")) == (1, 0)
    server.publish("." * 40_000)
    await turn()
    scrape = seen(server.node)
    assert (scrape("wsctl_clients_behind"), scrape("wsctl_slow_clients_cut_total")) == (0, 1)


async def test_the_drain_is_the_drain(make_server: MakeServer) -> None:
    server = make_server(shutdown_timeout=100.0)
    node = server.node
    node.started()
    assert seen(node)("wsctl_drain_remaining_seconds") is None
    for name in ("alice", "bob", "eve"):
        server.join(name)
    node.driver.drain()
    server.transports[0].protocol.data_received(closing())
    server.now += 10
    _same_drain(seen(node), node)
    assert seen(node)("wsctl_drain_remaining_seconds") == 90
    node.driver.force()
    _same_drain(seen(node), node)
    assert seen(node)("wsctl_clients_forced_total") == 2
    node.manager.abort_closing()
    assert (seen(node)("wsctl_clients_forced_total"), seen(node)("wsctl_clients_aborted_total")) == (2, 2)


def _same_drain(scrape: Scrape, node: Node) -> None:
    drain: dict[str, Any] = encode(node.reporter.drain())
    for state in ("started_with", "active", "left", "evicted", "forced", "aborted", "handed_over"):
        assert scrape("wsctl_drain_clients", state=state) == drain[state]
    assert scrape("wsctl_drain_elapsed_seconds") == drain["elapsed_s"]
    assert scrape("wsctl_drain_remaining_seconds") == drain["remaining_s"]
    assert scrape("wsctl_drain_eta_seconds") == drain["eta_s"]
    assert scrape("wsctl_drain_undelivered") == drain["undelivered"]
    assert scrape("wsctl_drain_waiting_for") == drain["waiting_for"]


async def test_clients_that_were_not_let_in_are_counted_by_code(make_server: MakeServer) -> None:
    node = make_server().node
    assert seen(node)("wsctl_connections_refused_total", code="full") == 0
    for code in ("full", "bad_client_id", "full"):
        node.refusals.count(code)
    node.refusals.count_drained()
    scrape = seen(node)
    refused = {
        code: scrape("wsctl_connections_refused_total", code=code)
        for code in ("full", "bad_client_id", "draining")
    }
    assert refused == {"full": 2, "bad_client_id": 1, "draining": 1}


async def test_without_limits_there_is_none(make_server: MakeServer) -> None:
    scrape = seen(make_server(max_queue=0, max_connections=0).node)
    assert scrape("wsctl_outbox_limit_bytes") is None
    assert scrape("wsctl_connections_limit") is None
    assert {"wsctl_outbox_limit_bytes", "wsctl_connections_limit"} <= set(scrape.labels)


async def test_moved_connections_are_neither_opened_nor_closed(make_server: MakeServer) -> None:
    server = make_server()
    wire, _ = server.join("bob")
    server.node.manager.release(wire)
    scrape = seen(server.node)
    assert scrape("wsctl_connections_handed_over_total") == 1
    assert sum(s.value for f in scrape.families for s in f.samples if "closed_total" in s.name) == 0
    assert server.node.manager.tally[EndReason.HANDED_OVER] == 1


async def test_names_and_help_keep_the_rules(make_server: MakeServer) -> None:
    assert complaints(seen(make_server().node).families) == []
    wrong = [
        Family("wsctl_wait_ms", "gauge", "A.", []),
        Family("wsctl_wait_seconds_gauge", "gauge", "A.", []),
        Family("wsctl_no_help", "gauge", "", []),
        Family("other_thing", "gauge", "A.", []),
    ]
    text = scrape.encode(wrong, "application/openmetrics-text")[0].decode()
    found = complaints(Scrape(text).families)
    assert {each.split()[0] for each in found} == {family.name for family in wrong}


async def test_no_label_tells_who_is_there(make_server: MakeServer) -> None:
    server = make_server(rate=Rate(1, 1), shutdown_timeout=100.0)
    server.node.started()
    for n in range(3):
        _, transport = server.join(f"{TELLING}-{n}")
        transport.protocol.data_received(closing(4000, TELLING))
    server.join(TELLING)
    server.node.driver.drain()
    server.publish(TELLING, (TELLING,))
    assert TELLING in str(server.node.reporter.status(clients=True))
    assert "telling" not in seen(server.node).text
