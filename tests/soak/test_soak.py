"""A soak in short: that it passes, that it can fail, and that it leaves nothing behind."""

import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest
import uvloop

from tests.soak import leaky
from tests.soak.__main__ import main
from tests.soak.churner import BACKWARDS
from tests.soak.gauge import use
from tests.soak.plan import Change, Plan, changes
from tests.soak.site import Site
from tests.soak.soak import Soak
from tests.soak.verdict import Outcome
from tests.support.server import DEADLINE, WSCTL

SHORT = 8 << 20
"""Bytes of history that are soon filled."""

GROWS = """
import os, sys
kept = []
for line in sys.stdin:
    kept.append((os.dup(0), b"x" * (8 << 20)))
    print(flush=True)
"""
"""Keeps a descriptor and 8 MiB for each line that it is told."""

linux = pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc")


def soak(plan: Plan, command: tuple[str, ...] = WSCTL) -> Outcome:
    with Site(plan, command) as site:

        async def run() -> Outcome:
            return await Soak(plan, site, print).run()

        return uvloop.run(run())


@linux
def test_everything_at_once_for_some_seconds() -> None:
    plan = Plan(seconds=4, clients=6, seed=1, rate=30, changes=(Change.UPGRADE, Change.DRAIN))
    outcome = soak(plan)
    assert outcome.reasons == []
    assert len(outcome.readings) == plan.rounds
    assert len({reading.pid for reading in outcome.readings}) == 3
    counts = outcome.tally.counts
    assert counts["connections moved"] >= plan.clients
    assert counts["messages received"] > plan.clients * counts["published: answered for"] / 2 > 0
    assert counts[BACKWARDS] == 0
    assert counts["witnesses: told of a loss"] == plan.clients  # a cold start, which nobody hides
    assert outcome.tally.endings["churner", 1000] > 0
    assert outcome.tally.endings["resetter", 1006] > 0
    assert {code for kind, code in outcome.tally.endings if kind == "flooder"} & {
        1002,
        1003,
        1007,
        1008,
        1009,
    }


@linux
def test_a_server_that_leaks_is_found() -> None:
    plan = Plan(seconds=2, clients=3, seed=1, rate=20, history_bytes=SHORT)
    outcome = soak(plan, (sys.executable, "-P", str(leaky.__file__)))
    grown = [reason.split(" of ")[0] for reason in outcome.reasons if reason.startswith("grown")]
    assert grown == ["grown: memory", "grown: files"]


@linux
def test_a_process_is_measured_as_it_is() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", GROWS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as process:
        assert process.stdin
        assert process.stdout
        uses = []
        for _ in range(4):
            process.stdin.write("more\n")
            process.stdout.readline()
            uses.append(use(process.pid))
    assert [one.files - uses[0].files for one in uses] == [0, 1, 2, 3]
    assert uses[3].memory - uses[0].memory >= 3 * (8 << 20)
    assert {one.threads for one in uses} == {1}


@linux
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_interrupted_it_leaves_nothing_behind(signum: int) -> None:
    mark = f"SOAK_MARK={uuid.uuid4()}"
    command = [sys.executable, "-m", "tests.soak", "--minutes", "1", "--clients", "2"]
    environ = os.environ | dict([mark.split("=")])
    with subprocess.Popen(command, env=environ, stderr=subprocess.PIPE, text=True) as process:
        until = time.monotonic() + DEADLINE
        while len(marked(mark)) < 2:
            assert time.monotonic() < until
            time.sleep(0.05)
        process.send_signal(signum)
        assert process.wait(DEADLINE) == 130
        assert process.stderr
        assert process.stderr.read().endswith("interrupted: no verdict\n")
    assert marked(mark) == []


def marked(mark: str) -> list[str]:
    """Processes with that in their environment."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if mark.encode() in path.read_bytes():
                found.append(path.parent.name)
        except OSError:  # it has ended, or is another user's
            continue
    return found


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (("--minutes", "0"), "must be more than nothing"),
        (("--clients", "0"), "--clients must be 1 to 100"),
        (("--clients", "101"), "--clients must be 1 to 100"),
    ],
)
def test_what_makes_no_sense_is_refused(
    flags: tuple[str, ...], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(flags)
    assert ended.value.code == 2
    assert complaint in capsys.readouterr().err


def test_each_change_has_its_round_and_the_outer_thirds_have_none() -> None:
    for minutes in (0.1, 1, 10, 100):
        for workers in (1, 2):
            plan = Plan(seconds=60 * minutes, workers=workers, changes=changes(workers))
            happens = [plan.change(number) for number in range(plan.rounds)]
            third = plan.rounds // 3
            assert set(happens) == {None, *plan.changes}
            assert {*happens[:third], *happens[-third:]} == {None}
