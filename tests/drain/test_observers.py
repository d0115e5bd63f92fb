"""The drain as log lines."""

import logging
from dataclasses import replace

import pytest

from wsctl.drain.interventions import Intervention, InterventionKind
from wsctl.drain.observers import DrainLog
from wsctl.drain.phases import Phase
from wsctl.drain.progress import DrainProgress

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


def test_the_log_has_one_line_for_each_step_of_an_operator(caplog: pytest.LogCaptureFixture) -> None:
    log = DrainLog(wall=lambda: 1_000_000_000.0)
    with caplog.at_level(logging.INFO, "wsctl.drain"):
        log.intervened(Intervention(InterventionKind.BEGUN, "control socket", None, 60.0))
        log.began(replace(LAME, phase=Phase.DRAINING, remaining_s=60.0))
        log.intervened(Intervention(InterventionKind.MOVED, "token", 50.0, 3.0))
        log.intervened(Intervention(InterventionKind.TOO_SOON, "SIGINT", None, 3.0))
        log.intervened(Intervention(InterventionKind.FORCED, "SIGINT", None, 3.0))
    began, moved, too_soon, forced = [
        (record.getMessage(), vars(record)["fields"]) for record in caplog.records
    ]
    assert began[0] == "draining"
    assert (began[1]["by"], began[1]["deadline"]) == ("control socket", "2001-09-09T01:47:40Z")
    when = {"from": "2001-09-09T01:47:30Z", "to": "2001-09-09T01:46:43Z"}
    assert moved == ("drain deadline moved", {"by": "token"} | when)
    assert too_soon == ("Ctrl-C again to close everybody now", {"by": "SIGINT"})
    assert forced == ("all clients are closed now", {"by": "SIGINT"})
