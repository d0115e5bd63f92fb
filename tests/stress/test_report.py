"""What a stress run has found, for programs."""

import pytest

from tests.support.stress import report
from wsctl.stress.timing import Quantiles


def test_the_object_has_these_keys_and_units() -> None:
    found = report(
        duration_s=1.23456,
        close_codes={1012: 3},
        refused={503: 1},
        errors={"rate_limited": 2},
        latency=Quantiles(0.001, 0.002, 0.003, 0.0123456),
        lag_s=0.25,
    ).as_json()
    assert found == {
        "clients": 2,
        "connected": 2,
        "servers": {"http://a": 2},
        "duration_s": 1.235,
        "sent": 10,
        "delivered": 20,
        "expected": 20,
        "missed": 0,
        "duplicated": 0,
        "out_of_order": 0,
        "not_subscribed": 0,
        "unconfirmed": 0,
        "reconnects": 0,
        "resumed": 0,
        "unrecovered": 0,
        "degraded": 0,
        "planned": 0,
        "replayed": 0,
        "failures": 0,
        "close_codes": {"1012": 3},
        "refused": {"503": 1},
        "errors": {"rate_limited": 2},
        "latency_ms": {"p50": 1.0, "p95": 2.0, "p99": 3.0, "max": 12.346},
        "silence_ms": 100.0,
        "lag_ms": 250.0,
    }


def test_without_deliveries_latencies_are_null() -> None:
    assert set(report(latency=None).as_json()["latency_ms"].values()) == {None}


def test_without_messages_there_is_no_silence() -> None:
    assert report(silence_s=None).as_json()["silence_ms"] is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"missed": 1},
        {"duplicated": 1},
        {"out_of_order": 1},
        {"connected": 1},
        {"unconfirmed": 1},
        {"not_subscribed": 1},
    ],
)
def test_one_thing_wrong_is_not_clean(wrong: dict[str, int]) -> None:
    assert report().clean
    assert not report(**wrong).clean
