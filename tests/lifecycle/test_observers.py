"""The drain as log lines."""

import logging
from dataclasses import replace

import pytest

from wsctl.lifecycle.observers import DrainLog
from wsctl.lifecycle.phases import Phase
from wsctl.lifecycle.progress import DrainProgress

LAME = DrainProgress(
    phase=Phase.LAMEDUCK,
    reason="SIGTERM",
    cancellable=False,
    started_with=3,
    active=3,
    elapsed_s=10.0,
    remaining_s=60.0,
    left=0,
    evicted=0,
    forced=0,
    aborted=0,
    undelivered=0,
    oldest="bob",
)


def test_who_waits_for_a_turn_is_logged_with_how_many_are_before_it(caplog: pytest.LogCaptureFixture) -> None:
    lines = DrainLog()
    with caplog.at_level(logging.INFO, "wsctl.drain"):
        lines.began(replace(LAME, waiting_for=2))
        lines.progressed(replace(LAME, waiting_for=1))
        lines.progressed(LAME)
        lines.began(replace(LAME, phase=Phase.DRAINING))
    told = [(r.getMessage(), r.__dict__["fields"].get("waiting_for")) for r in caplog.records]
    assert told == [
        ("lameduck, waits for its turn", 2),
        ("still lameduck, waits for its turn", 1),
        ("still lameduck", None),
        ("draining", None),
    ]
