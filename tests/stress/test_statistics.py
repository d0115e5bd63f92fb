"""The statistics of a stress run."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsctl.client.events import (
    Closed,
    ConnectFailed,
    HandshakeRefused,
    Moved,
    Opened,
    Received,
    ServerDegraded,
    ServerRestored,
)
from wsctl.stress.statistics import WINDOW, Probe, RunStatistics, order_of, probe_text, read_probe
from wsctl.stress.topic_plan import TopicPlan

IDS = ("a-1", "a-2")


def opened() -> RunStatistics:
    statistics = RunStatistics(IDS)
    for client in range(len(IDS)):
        statistics.record(client, Opened({}), 0.0)
    statistics.begin(0.0)
    return statistics


def welcomed(recovered: bool | None = None) -> Opened:
    """A client is back; None: the server does not say."""
    return Opened({} if recovered is None else {"recovered": recovered}, since="0-1")


def message(text: str, sender: str = "a-1") -> Received:
    return Received({"type": "message", "id": "1-0", "ts": 1.0, "from": sender, "data": text})


def error(code: str) -> Received:
    return Received({"type": "error", "code": code, "message": "no"})


def test_a_message_that_all_received_is_a_clean_run() -> None:
    statistics = opened()
    text = statistics.send(0, 1.0, 64)
    statistics.record(0, message(text), 1.010)
    statistics.record(1, message(text), 1.020)
    report = statistics.report(2.0, final=True)
    assert (report.sent, report.delivered, report.expected, report.clean) == (1, 2, 2, True)
    assert report.latency
    assert report.latency.max == pytest.approx(0.020)
    assert report.latency.p50 == pytest.approx(0.010, rel=0.02)


@pytest.mark.parametrize("wrong", ["missed", "duplicated", "out_of_order"])
def test_one_wrong_delivery_is_not_clean(wrong: str) -> None:
    statistics = opened()
    texts = [statistics.send(0, 1.0, 64), statistics.send(0, 1.0, 64)]
    order = {"missed": [0], "duplicated": [0, 1, 1], "out_of_order": [1, 0]}[wrong]
    for at in (0, 1):
        statistics.record(0, message(texts[at]), 1.1)
    for at in order:
        statistics.record(1, message(texts[at]), 1.1)
    report = statistics.report(2.0, final=True)
    assert not report.clean
    assert {n: getattr(report, n) for n in ("missed", "duplicated", "out_of_order")} == {
        "missed": 0,
        "duplicated": 0,
        "out_of_order": 0,
    } | {wrong: 1}


def test_other_programs_messages_are_no_part_of_it() -> None:
    statistics = opened()
    text = statistics.send(0, 1.0, 64)
    for stranger in (message(text, "echo"), message("hello"), message(RunStatistics(IDS).send(0, 1.0, 64))):
        statistics.record(1, stranger, 1.1)
    unsent = text.replace(" 0 ", " 99 ", 1)
    statistics.record(1, message(unsent), 1.1)
    assert statistics.report(2.0, final=True).delivered == 0


def test_a_message_on_its_way_is_not_yet_called_missed() -> None:
    statistics = opened()
    statistics.record(0, message(statistics.send(0, 0.0, 64)), 0.0)
    statistics.sample(0.1, 0.0)
    assert statistics.report(0.1, final=False).missed == 0
    for number in range(WINDOW):
        statistics.sample(0.2 + number / 10, 0.0)
    assert statistics.report(2.2, final=False).missed == 1
    assert statistics.report(0.1, final=True).missed == 1


def test_endings_are_counted_by_kind() -> None:
    statistics = opened()
    statistics.record(0, Closed(1012, "restart"), 1.0)
    statistics.record(0, HandshakeRefused(503, "full", "later"), 1.0)
    statistics.record(0, ConnectFailed("nobody there"), 1.0)
    assert statistics.report(1.0, final=False).connected == 1
    statistics.record(0, Opened({}), 1.0)
    statistics.record(1, error("rate_limited"), 1.0)
    report = statistics.report(1.0, final=True)
    assert (report.connected, report.reconnects, report.failures) == (2, 1, 1)
    assert (report.close_codes, report.refused, report.errors) == ({1012: 1}, {503: 1}, {"rate_limited": 1})


def test_what_was_sent_on_a_connection_that_ended_is_unconfirmed() -> None:
    statistics = opened()
    statistics.send(0, 1.0, 64)
    statistics.record(0, Closed(1006, "lost"), 1.0)
    report = statistics.report(2.0, final=True)
    assert (report.unconfirmed, report.missed) == (1, 0)


def test_what_was_sent_before_a_planned_move_is_due() -> None:
    statistics = opened()
    statistics.send(0, 1.0, 64)
    statistics.record(0, Moved(), 1.0)
    report = statistics.report(2.0, final=True)
    assert (report.unconfirmed, report.missed, report.connected) == (0, 2, 1)
    assert (report.planned, report.failures, report.close_codes) == (1, 0, {})


def test_returns_are_counted_by_what_the_server_said() -> None:
    statistics = opened()
    for recovered in (True, True, False, None):
        statistics.record(0, Closed(1012, "restart"), 1.0)
        statistics.record(0, welcomed(recovered), 2.0)
    report = statistics.report(3.0, final=True)
    assert (report.reconnects, report.resumed, report.unrecovered) == (4, 2, 2)


def test_a_server_that_was_degraded_and_lost_messages_is_counted_without_a_reconnect() -> None:
    statistics = opened()
    for client, recovered in ((0, True), (1, False)):
        statistics.record(client, ServerDegraded({}), 1.0)
        statistics.record(client, ServerRestored({"recovered": recovered}), 2.0)
    report = statistics.report(3.0, final=True)
    assert (report.degraded, report.unrecovered) == (2, 1)
    assert (report.reconnects, report.resumed, report.connected) == (0, 0, 2)


def test_what_comes_behind_a_degraded_server_is_late_and_no_latency() -> None:
    statistics = opened()
    statistics.record(1, ServerDegraded({}), 1.0)
    text = statistics.send(0, 2.0, 64)
    statistics.record(0, message(text), 2.010)
    statistics.record(1, ServerRestored({"recovered": True}), 5.0)
    statistics.record(1, message(text), 5.0)
    report = statistics.report(6.0, final=True)
    assert (report.replayed, report.clean) == (1, True)
    assert report.latency
    assert report.latency.max == pytest.approx(0.010)


def test_what_a_degraded_server_refused_nobody_misses_and_what_others_got_is_due() -> None:
    statistics = opened()
    statistics.send(0, 1.0, 64)
    statistics.record(0, ServerDegraded({}), 1.0)
    statistics.send(0, 1.5, 64)
    statistics.record(0, error("degraded"), 1.5)
    statistics.record(0, ServerRestored({"recovered": False}), 2.0)
    statistics.record(0, message(statistics.send(0, 3.0, 64)), 3.0)
    report = statistics.report(4.0, final=True)
    assert (report.unconfirmed, report.missed, report.errors) == (2, 1, {"degraded": 1})


def test_who_meets_a_degraded_server_is_told_so_and_another_server_takes_messages() -> None:
    statistics = opened()
    statistics.record(0, Closed(1012, "restart"), 1.0)
    statistics.record(0, Opened({"server": {"degraded": True}}, since="0-1"), 1.5)
    statistics.send(0, 2.0, 64)
    statistics.record(0, Moved(), 2.5)
    statistics.record(0, Opened({"recovered": True}, since="0-1"), 3.0)
    statistics.send(0, 3.5, 64)
    report = statistics.report(4.0, final=True)
    assert (report.degraded, report.unconfirmed, report.missed) == (1, 1, 2)


def test_clients_are_counted_where_they_are() -> None:
    statistics = RunStatistics(IDS, ("http://a", "http://b"))
    statistics.record(0, Opened({}, server="http://a"), 0.0)
    statistics.record(1, Opened({}, server="http://b"), 0.0)
    assert statistics.report(1.0, final=False).servers == {"http://a": 1, "http://b": 1}
    statistics.record(0, Closed(1012, "restart"), 1.0)
    assert statistics.report(1.0, final=False).servers == {"http://a": 0, "http://b": 1}
    statistics.record(0, Opened({}, server="http://b"), 2.0)
    assert statistics.report(2.0, final=True).servers == {"http://a": 0, "http://b": 2}


def test_a_client_that_is_not_there_at_the_end_is_not_clean() -> None:
    statistics = opened()
    statistics.record(1, Closed(1012, "restart"), 1.0)
    assert not statistics.report(2.0, final=True).clean
    statistics.record(1, welcomed(True), 3.0)
    assert statistics.report(4.0, final=True).clean


def test_a_replayed_message_is_delivered_late_and_no_latency() -> None:
    statistics = opened()
    statistics.record(1, Closed(1006, "lost"), 1.0)
    text = statistics.send(0, 2.0, 64)
    statistics.record(0, message(text), 2.010)
    statistics.record(1, welcomed(True), 5.0)
    statistics.record(1, message(text), 5.0)
    report = statistics.report(6.0, final=True)
    assert (report.delivered, report.replayed, report.clean) == (2, 1, True)
    assert report.latency
    assert report.latency.max == pytest.approx(0.010)


def test_what_a_client_that_recovered_nothing_gets_is_live() -> None:
    statistics = opened()
    text = statistics.send(0, 2.0, 64)
    statistics.record(1, welcomed(False), 2.5)
    statistics.record(1, message(text), 2.5)
    report = statistics.report(6.0, final=True)
    assert (report.delivered, report.replayed) == (1, 0)
    assert report.latency


def test_what_is_replayed_a_second_time_is_a_duplicate() -> None:
    statistics = opened()
    text = statistics.send(0, 2.0, 64)
    statistics.record(1, message(text), 2.0)
    statistics.record(1, Closed(1006, "lost"), 3.0)
    statistics.record(1, welcomed(True), 4.0)
    statistics.record(1, message(text), 4.0)
    report = statistics.report(5.0, final=True)
    assert (report.duplicated, report.replayed) == (1, 0)


def test_silence_is_the_longest_time_that_a_client_was_given_nothing_while_publishing_went_on() -> None:
    statistics = opened()
    assert statistics.report(9.0, final=False).silence_s is None
    for sent_at, clients in ((1.0, (0, 1)), (2.0, (0,)), (4.0, (0, 1))):
        text = statistics.send(0, sent_at, 64)
        for client in clients:
            statistics.record(client, message(text), sent_at)
    statistics.record(1, Received({"type": "heartbeat"}), 4.5)
    assert statistics.report(5.0, final=False).silence_s == 3.0
    statistics.ended = 8.0
    statistics.record(1, message(statistics.send(0, 7.0, 64)), 60.0)
    assert statistics.report(99.0, final=True).silence_s == 4.0


def test_the_longest_lag_is_kept() -> None:
    statistics = opened()
    for late in (0.01, 0.2, 0.03):
        statistics.sample(1.0, late)
    assert statistics.report(1.0, final=True).lag_s == 0.2


def test_time_stands_still_once_publishing_has_ended() -> None:
    statistics = opened()
    assert statistics.report(3.0, final=False).duration_s == 3.0
    statistics.ended = 4.0
    assert statistics.report(9.0, final=True).duration_s == 4.0


@given(st.integers(0), st.integers(0, 10**12), st.integers(0, 300))
def test_what_was_written_is_read(number: int, micros: int, size: int) -> None:
    text = probe_text("run", Probe(number, micros / 1e6), size)
    assert read_probe("run", text) == Probe(number, pytest.approx(micros / 1e6, abs=1e-6))
    assert text.isascii()
    assert len(text) >= size


def test_the_size_is_in_bytes() -> None:
    assert len(probe_text("run", Probe(7, 1.5), 128)) == 128


@pytest.mark.parametrize("text", ["", "other 7 1.5 xx", "run", "run 7", "run x y z", 7, None, {"run": 1}])
def test_what_is_not_of_this_run_is_not_read(text: object) -> None:
    assert read_probe("run", text) is None


def test_an_answer_tells_which_message_was_taken_and_which_was_not() -> None:
    statistics = RunStatistics(["a", "b"], topics=TopicPlan(2))
    for sender in (0, 1, 0):
        statistics.send(sender, 1.0, 64)
    for answer in ({"type": "ok", "ref": "0"}, {"type": "error", "ref": "1", "code": "rate_limited"}):
        statistics.record(0, Received(answer), 1.0)
    for strange in ("7", 2, None, "x"):
        statistics.record(0, Received({"type": "ok", "ref": strange}), 1.0)
    statistics.record(0, Closed(1006, ""), 1.0)
    report = statistics.report(2.0, final=True)
    assert (report.sent, report.unconfirmed, report.missed) == (3, 2, 2)
    assert report.errors == {"rate_limited": 1}


@pytest.mark.parametrize(("message_id", "order"), [("17-2", (17, 2)), ("x", None), (None, None), ("", None)])
def test_an_id_is_ordered_by_its_numbers(message_id: object, order: tuple[int, ...] | None) -> None:
    assert order_of(message_id) == order
