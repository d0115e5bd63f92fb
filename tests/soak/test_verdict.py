"""No verdict is given for nothing."""

import json
from dataclasses import replace

import pytest

from tests.soak import report
from tests.soak.gauge import Reading
from tests.soak.plan import Plan, changes
from tests.soak.tally import KEPT, Tally
from tests.soak.verdict import ABSURD, DONE, OPERATED, SAID, Outcome
from wsctl.stress.timing import Quantiles


def outcome(workers: int = 1) -> Outcome:
    """A run without fault."""
    tally = Tally()
    tally.acts.update([*DONE, *SAID, *OPERATED.values()])
    tally.endings["flooder", 1008] += 3
    tally.refusals["churner", "1001"] += 1
    readings = [Reading("server", 1, 7, 50 << 20, 15, 6, 1) for _ in range(10)]
    plan = Plan(workers=workers, changes=changes(workers))
    peaks = {"memory": 60 << 20, "files": 200}
    return Outcome(plan, 600.0, tally, readings, peaks, Quantiles(0.001, 0.002, 0.003, 0.004))


def test_a_run_without_fault_has_passed() -> None:
    good = outcome()
    assert good.reasons == []
    assert report.text(good).endswith("\nPASSED")
    assert json.loads(json.dumps(report.as_json(good)))["verdict"] == "passed"
    assert "1008: 3" in report.text(good)


def test_a_fault_is_told_and_fails() -> None:
    bad = outcome()
    bad.tally.fault("witness 3 was cut with 1006")
    assert bad.reasons == ["witness 3 was cut with 1006"]
    assert report.text(bad).endswith("\nFAILED\n  witness 3 was cut with 1006")
    assert report.as_json(bad)["reasons"] == bad.reasons


def test_of_a_thousand_faults_the_first_are_told() -> None:
    bad = outcome()
    bad.tally.blame(str(n) for n in range(1000))
    assert bad.reasons == [*map(str, range(KEPT)), f"and {1000 - KEPT} more faults"]


def test_growth_fails() -> None:
    leaks = [replace(one, files=15 + n) for n, one in enumerate(outcome().readings)]
    bad = replace(outcome(), readings=leaks)
    assert bad.reasons == ["grown: files of server, start 1, generation 1: 17 -> 23"]
    assert "GROWN" in report.text(bad)


def test_what_was_too_short_to_judge_is_not_hidden() -> None:
    short = replace(outcome(), readings=outcome().readings[:3])
    assert short.reasons == []
    assert "too short to judge the growth of: files, memory, tasks, threads" in report.text(short)


def test_only_an_absurd_latency_fails() -> None:
    slow = Quantiles(1.0, 1.0, ABSURD, 100.0)
    assert replace(outcome(), latency=slow).passed
    assert not replace(outcome(), latency=replace(slow, p99=ABSURD + 1)).passed
    assert not replace(outcome(), latency=None).passed


def test_without_a_measurement_it_fails() -> None:
    assert replace(outcome(), readings=[]).reasons == ["nothing was measured"]


@pytest.mark.parametrize("name", [*DONE, *SAID, *OPERATED.values()])
def test_an_actor_that_never_acted_fails(name: str) -> None:
    idle = outcome(workers=2)
    del idle.tally.acts[name]
    assert idle.reasons == [f"never done: {name}"]


def test_without_workers_none_need_be_killed() -> None:
    alone = outcome()
    del alone.tally.acts["operator: kill -9"]
    assert alone.passed
