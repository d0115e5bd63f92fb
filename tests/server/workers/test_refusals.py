"""Workers that cannot be started again just now."""

import logging

import pytest

from wsctl.server.workers.refusals import FIRST_PAUSE, LONGEST_PAUSE, Refusals, pause


def test_the_pauses_grow_up_to_the_longest() -> None:
    pauses = [pause(n) for n in range(2000)]
    assert (pauses[0], pauses[1], pauses[-1]) == (FIRST_PAUSE, 2 * FIRST_PAUSE, LONGEST_PAUSE)
    assert pauses == sorted(pauses)


def test_a_reason_is_told_when_it_changes_and_when_it_comes_back(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    refusals = Refusals()
    for why in ("no Redis", "no Redis", "no file", "no file", None, "no file"):
        refusals.note(why) if why else refusals.over()
    told = [record.fields["why"] for record in caplog.records]  # type: ignore[attr-defined]
    assert told == ["no Redis", "no file", "no file"]
