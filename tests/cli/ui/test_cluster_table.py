"""Servers that share a Redis, for people."""

import pytest

from tests.support.status import AWAY, DRAIN, FACTS, JOURNAL, SHARED, drawn, from_second, line, node


def test_a_cluster_is_told_with_its_redis_and_its_nodes() -> None:
    assert drawn(("http://here", SHARED)).splitlines() == [
        "http://here  pid 7, node 00000001, wsctl 0.1.0",
        "  phase        serving",
        "  connections  3 of 1000",
        "  uptime       1:02:05",
        "  rates        published 0.1/s, received 0/s, delivered 12.5/s",
        "  newest id    1-0",
        "  redis        redis://there:6379/0 up for 1:02:05",
        "  cluster      3 nodes, 900 clients",
        "",
        "  node      process    url                    phase     connections",
        "  00000001  alpha:101  http://127.0.0.1:8001  serving           300",
        "  00000002  alpha:102  http://127.0.0.1:8002  lameduck          300",
        "  00000003  alpha:103  -                      serving           300",
    ]
    assert line("http://here", SHARED).endswith("delivered 12.5/s; cluster 3 nodes, 900 clients")


def test_one_node_is_a_cluster_too() -> None:
    alone = SHARED | {"nodes": [node(1)], "cluster": {"nodes": 1, "connections": 1}}
    shown = drawn(("http://here", alone))
    assert "  cluster      1 node, 1 client\n" in shown


def test_a_redis_that_is_away_is_told_with_since_when_and_why() -> None:
    shown = drawn(("http://here", AWAY)).splitlines()
    assert shown[1] == "  phase        serving, degraded"
    assert shown[6] == "  redis        redis://there:6379/0 away for 0:12: connection refused"
    told = line("http://here", AWAY)
    assert told.startswith("http://here serving, degraded: 3 of 1000 connected; ")
    assert "; redis away for 0:12: connection refused; cluster 3 nodes" in told
    assert told.count("connection refused") == 1


def test_a_journal_is_told_with_its_size_and_how_it_syncs() -> None:
    shown = drawn(("http://here", JOURNAL)).splitlines()
    assert shown[-1] == "  journal      /var/lib/wsctl/log.db, 12.3 MB, sync full"
    assert line("http://here", JOURNAL) == line("http://here", FACTS)
    busy = JOURNAL | {"journal": JOURNAL["journal"] | {"waiting": 7}}
    assert drawn(("http://here", busy)).splitlines()[-1].endswith("sync full, 7 waiting")


def test_a_journal_that_is_away_is_told_with_since_when_and_why() -> None:
    away = {"state": "away", "for_s": 12.3, "why": "the disk is full"}
    facts = JOURNAL | {"degraded": "the disk is full", "journal": JOURNAL["journal"] | away}
    shown = drawn(("http://here", facts)).splitlines()
    assert shown[1] == "  phase        serving, degraded"
    assert shown[-1] == "  journal      /var/lib/wsctl/log.db, away for 0:12: the disk is full"
    told = line("http://here", facts)
    assert told.endswith("; journal away for 0:12: the disk is full")
    assert told.count("the disk is full") == 1


@pytest.mark.parametrize("redis", [None, SHARED["redis"]])
def test_a_server_that_is_degraded_otherwise_says_why(redis: object) -> None:
    facts = FACTS | {"degraded": "Redis is full", "redis": redis}
    assert "  degraded     Redis is full" in drawn(("http://here", facts)).splitlines()
    assert line("http://here", facts).endswith("; Redis is full")


def test_an_older_server_or_one_alone_has_nothing_of_that_to_tell() -> None:
    alone = FACTS | dict.fromkeys(("degraded", "redis", "nodes", "cluster"))
    assert drawn(("http://here", alone)) == drawn(("http://here", FACTS))
    assert line("http://here", alone) == line("http://here", FACTS)


def test_clients_of_all_nodes_are_listed_with_their_node_and_what_is_not_known_is_a_dash() -> None:
    rows = [
        {
            "client_id": "bob",
            "address": "1.2.3.4:5",
            "connected_s": 9.0,
            "waiting_bytes": 0,
            "node": "00000001",
        },
        {"client_id": "eve", "address": None, "connected_s": 5.0, "waiting_bytes": None, "node": "00000002"},
    ]
    shown = drawn(("http://here", SHARED | {"clients": rows})).splitlines()
    assert [row.split() for row in shown[-3:]] == [
        ["client", "address", "connected", "waiting", "node"],
        ["bob", "1.2.3.4:5", "0:09", "0", "bytes", "00000001"],
        ["eve", "-", "0:05", "-", "00000002"],
    ]
    assert [*drawn(("http://here", FACTS | {"clients": rows[:1]})).splitlines()[-2].split()][-1] == "node"
    plain = [{name: value for name, value in rows[0].items() if name != "node"}]
    assert "node" not in drawn(("http://here", FACTS | {"clients": plain}))


def test_what_servers_of_one_cluster_tell_alike_stands_once() -> None:
    rows = [{"client_id": "bob", "address": None, "connected_s": 9.0, "waiting_bytes": None, "node": "x"}]
    facts = SHARED | {"clients": rows}
    other = FACTS | {"clients": [{"client_id": "zoe", "address": "", "connected_s": 1.0, "waiting_bytes": 0}]}
    shown = drawn(("http://one", facts), ("http://alone", other), ("http://two", from_second(facts)))
    assert (shown.count("alpha:102"), shown.count("bob"), shown.count("zoe")) == (1, 1, 1)
    assert (
        shown.index("http://alone")
        < shown.index("zoe")
        < shown.index("http://two")
        < shown.index("alpha:102")
    )
    assert "http://two  pid 7, node 00000002, wsctl" in shown


def test_two_clusters_have_their_nodes_each() -> None:
    another = SHARED | {"nodes": [node(8), node(9)]}
    shown = drawn(("http://one", SHARED), ("http://two", another))
    assert (shown.count("alpha:101"), shown.count("alpha:109")) == (1, 1)


@pytest.mark.parametrize("height", [24, 30, 60])
@pytest.mark.parametrize("servers", [1, 2])
@pytest.mark.parametrize("clients", [None, 0, 3, 100])
@pytest.mark.parametrize("count", [3, 100])
@pytest.mark.parametrize("width", [80, 100])
def test_a_cluster_fits_the_screen(
    height: int, servers: int, clients: int | None, count: int, width: int
) -> None:
    row = {"client_id": "bob", "address": None, "connected_s": 9.0, "waiting_bytes": None, "node": "0000000"}
    found = [
        node(1, node=f"{n:08}", host="a-host-with-a-long-name.example", this=n == 0) for n in range(count)
    ]
    facts = AWAY | {"nodes": found, "drain": DRAIN if servers == 1 and height > 24 else None}
    if clients is not None:
        facts |= {"clients": [row] * clients}
    shown = drawn(*[(f"http://{n}", dict(facts)) for n in range(servers)], height=height, width=width)
    assert len(shown.splitlines()) <= height
    shares = height // servers
    if clients and shares >= 30:
        assert "bob" in shown
        assert "00000000" in shown


def test_nothing_of_a_cluster_commands_the_terminal() -> None:
    nasty = "[red]\x1b[2J\n\u202e"
    facts = AWAY | {
        "degraded": nasty,
        "redis": {"url": nasty, "state": nasty, "for_s": 1.0, "why": nasty},
        "journal": {"path": nasty, "state": nasty, "for_s": 1.0, "why": nasty},
        "nodes": [node(1, node=nasty, host=nasty, url=nasty, phase=nasty)],
        "clients": [
            {"client_id": "bob", "address": None, "connected_s": 1.0, "waiting_bytes": None, "node": nasty}
        ],
    }
    for shown in (drawn(("http://here", facts), width=1000), line("http://here", facts)):
        assert "\x1b" not in shown
        assert "\u202e" not in shown
        assert "[red]\\x1b[2J\\n\\u202e" in shown
