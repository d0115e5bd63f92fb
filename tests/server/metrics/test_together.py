"""The metrics of several workers."""

from wsctl.server.metrics.family import Family, Sample, counters, gauge
from wsctl.server.metrics.together import together


def test_each_sample_says_whose_it_is() -> None:
    found = together(
        {
            1: [gauge("a", "A.", 5), counters("b_total", "B.", "code", {"1000": 2})],
            2: [gauge("a", "A.", 7), gauge("only_here", "C.", 1)],
        }
    )
    assert [family.name for family in found] == ["wsctl_worker_up", "a", "b", "only_here"]
    assert found[1].samples == [Sample("", {"worker": "1"}, 5), Sample("", {"worker": "2"}, 7)]
    assert found[2].samples == [Sample("_total", {"code": "1000", "worker": "1"}, 2)]


def test_who_tells_nothing_is_there_as_not_up() -> None:
    up, *rest = together({1: None, 2: [gauge("a", "A.", 7)], 3: None})
    assert [(s.labels["worker"], s.value) for s in up.samples] == [("1", 0), ("2", 1), ("3", 0)]
    assert [sample.labels for family in rest for sample in family.samples] == [{"worker": "2"}]


def test_what_a_worker_told_is_left_as_it_was() -> None:
    own: list[Family] = [gauge("a", "A.", 5)]
    assert together({1: own, 2: own}) == together({1: own, 2: own})
    assert own == [gauge("a", "A.", 5)]
