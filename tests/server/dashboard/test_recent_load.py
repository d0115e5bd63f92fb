"""The load of the last hour."""

from dataclasses import replace

from tests.support.status import FACTS
from wsctl.control.status import DeliveryTime, MessageCounts, OutboxStatus, ServerStatus
from wsctl.drain.progress import HandoverProgress, HandoverState
from wsctl.server.dashboard.recent_load import SAMPLE_INTERVAL, SAMPLES, RecentLoad

STATUS = replace(
    ServerStatus.from_json(FACTS),
    streams=1,
    rates=MessageCounts(1.0, 2.0, 3.0),
    delivery=DeliveryTime(5, 0.001, 0.0025),
    outbox=OutboxStatus(1, 700, 700),
)


def test_a_sample_has_what_the_status_tells() -> None:
    load = RecentLoad(lambda: STATUS, lambda: 1000.0)
    load.check(0.0)
    (sample,) = load.history().samples
    assert (sample.at, sample.connections, sample.streams) == (1000.0, 3, 1)
    assert (sample.published, sample.received, sample.delivered) == (1.0, 2.0, 3.0)
    assert (sample.delivery_s, sample.longest_delivery_s, sample.waiting_bytes) == (0.001, 0.0025, 700)


def test_one_is_taken_in_ten_seconds_though_the_checks_are_not_exact() -> None:
    load = RecentLoad(lambda: STATUS, lambda: 1000.0)
    for second in range(61):
        load.check(second - (0.1 if second % 2 else 0.0))
    assert len(load.history().samples) == 60 / SAMPLE_INTERVAL + 1


def test_none_is_taken_while_clients_move() -> None:
    moving = HandoverProgress(HandoverState.MOVING, 7, 5, 2, 0, 1.0, 0.0, None)
    done = replace(moving, state=HandoverState.DONE)
    told = iter(
        [replace(STATUS, status="handover"), replace(STATUS, upgrade=moving), replace(STATUS, upgrade=done)]
    )
    load = RecentLoad(lambda: next(told))
    taken = []
    for second in range(3):
        load.check(float(second))
        taken.append(len(load.history().samples))
    assert taken == [0, 0, 1]


def test_another_process_goes_on_with_what_there_was() -> None:
    before = RecentLoad(lambda: STATUS, lambda: 1000.0)
    before.check(0.0)
    after = RecentLoad(lambda: STATUS, lambda: 1010.0)
    after.check(0.0)
    after.resume(before.state())
    assert [sample.at for sample in after.history().samples] == [1000.0, 1010.0]
    after.resume([{"of": "another version"}])
    assert len(after.history().samples) == 2


def test_an_hour_is_kept_and_no_more() -> None:
    moments = iter(range(10_000))
    load = RecentLoad(lambda: STATUS, lambda: float(next(moments)))
    for number in range(SAMPLES + 10):
        load.check(number * SAMPLE_INTERVAL)
    samples = load.history().samples
    assert SAMPLES * SAMPLE_INTERVAL == 3600
    assert [samples[0].at, samples[-1].at, len(samples)] == [10.0, SAMPLES + 9.0, SAMPLES]
