"""Metrics as data: from one process to another, and of several workers as one answer."""

import json

from hypothesis import given
from hypothesis import strategies as st

from wsctl.hub.traffic import BOUNDS, Durations
from wsctl.server.metrics.family import (
    Family,
    Sample,
    counter,
    counters,
    decode_families,
    encode_families,
    gauge,
    gauges,
    histogram,
    info,
    merge_workers,
    states,
)

ALL = [
    gauge("a_seconds", "A.", 1.5),
    gauge("absent", "B.", None),
    gauges("b", "C.", "code", {"x": 1.0}),
    counter("c_total", "D.", 3),
    counters("d_bytes_total", "E.", "code", {"x": 1.0, "y": 2.0}),
    histogram("e_seconds", "F.", Durations()),
    info("f_info", "G.", {"version": "1"}),
    states("g", "H.", ("on", "off"), "on"),
]


def test_it_comes_out_of_json_as_it_went_in() -> None:
    assert decode_families(json.loads(json.dumps(encode_families(ALL)))) == ALL


def test_the_unit_is_the_end_of_the_name() -> None:
    assert [family.unit for family in ALL] == ["seconds", "", "", "", "bytes", "seconds", "", ""]


def test_what_there_is_not_has_a_name_and_no_value() -> None:
    assert gauge("absent", "B.", None) == Family("absent", "gauge", "B.", [])


def test_one_state_is_on() -> None:
    assert [(s.labels, s.value) for s in ALL[-1].samples] == [({"g": "on"}, True), ({"g": "off"}, False)]


@given(st.lists(st.sampled_from(BOUNDS) | st.floats(0, 10)))
def test_a_bucket_holds_those_before_it(times: list[float]) -> None:
    durations = Durations()
    for time in times:
        durations.note(time)
    *buckets, count, total = histogram("e_seconds", "F.", durations).samples
    for bucket in buckets:
        assert bucket.value == sum(time <= float(bucket.labels["le"]) for time in times)
    assert (count, total) == (Sample("_count", {}, len(times)), Sample("_sum", {}, sum(times)))


def test_each_sample_says_whose_it_is() -> None:
    found = merge_workers(
        {
            1: [gauge("a", "A.", 5), counters("b_total", "B.", "code", {"1000": 2})],
            2: [gauge("a", "A.", 7), gauge("only_here", "C.", 1)],
        }
    )
    assert [family.name for family in found] == ["wsctl_worker_up", "a", "b", "only_here"]
    assert found[1].samples == [Sample("", {"worker": "1"}, 5), Sample("", {"worker": "2"}, 7)]
    assert found[2].samples == [Sample("_total", {"code": "1000", "worker": "1"}, 2)]


def test_who_tells_nothing_is_there_as_not_up() -> None:
    up, *rest = merge_workers({1: None, 2: [gauge("a", "A.", 7)], 3: None})
    assert [(s.labels["worker"], s.value) for s in up.samples] == [("1", 0), ("2", 1), ("3", 0)]
    assert [sample.labels for family in rest for sample in family.samples] == [{"worker": "2"}]


def test_what_a_worker_told_is_left_as_it_was() -> None:
    own: list[Family] = [gauge("a", "A.", 5)]
    assert merge_workers({1: own, 2: own}) == merge_workers({1: own, 2: own})
    assert own == [gauge("a", "A.", 5)]
