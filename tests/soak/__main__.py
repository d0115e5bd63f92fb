"""`python -m tests.soak`: abuse a server for minutes, and say whether anything grew or was missed."""

import argparse
import asyncio
import json
import random
import signal
import sys
from collections.abc import Sequence

import uvloop

from tests.soak import report
from tests.soak.plan import MAX_CONNECTIONS, Plan, changes
from tests.soak.site import Site
from tests.soak.soak import Soak
from tests.soak.verdict import Outcome

INTERRUPTED = 130


def main(arguments: Sequence[str]) -> int:
    """Returns the exit code: 0 passed, 1 failed, 2 not possible here, 130 interrupted."""
    plan, as_json = _plan(arguments)
    if not sys.platform.startswith("linux"):
        _say("the soak needs Linux: it reads what processes use from /proc")
        return 2
    _say(f"seed {plan.seed}")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that it too leaves nothing behind
    try:
        with Site(plan) as site:
            outcome = uvloop.run(_run(plan, site))
    except (KeyboardInterrupt, asyncio.CancelledError):
        _say("interrupted: no verdict")
        return INTERRUPTED
    print(json.dumps(report.as_json(outcome)) if as_json else report.text(outcome))
    return 0 if outcome.passed else 1


async def _run(plan: Plan, site: Site) -> Outcome:
    return await Soak(plan, site, _say).run()


def _plan(arguments: Sequence[str]) -> tuple[Plan, bool]:
    parser = argparse.ArgumentParser(
        prog="python -m tests.soak", description=__doc__, epilog=report.tolerances()
    )
    parser.add_argument("--minutes", type=float, default=10.0, help="of abuse; checkpoints come on top")
    parser.add_argument("--clients", type=int, default=20, metavar="N", help="witnesses")
    parser.add_argument(
        "--redis", action=argparse.BooleanOptionalAction, help="share a Valkey; the default with workers"
    )
    parser.add_argument("--workers", type=int, default=1, metavar="N")
    parser.add_argument("--seed", type=int, help="what a run before printed; random unless given")
    parser.add_argument("--json", action="store_true", help="one object instead of a table")
    given = parser.parse_args(arguments)
    redis = given.workers > 1 if given.redis is None else given.redis
    if given.minutes <= 0 or given.workers < 1:
        parser.error("--minutes and --workers must be more than nothing")
    if not 1 <= given.clients <= MAX_CONNECTIONS // 2:
        parser.error(f"--clients must be 1 to {MAX_CONNECTIONS // 2}: a process takes {MAX_CONNECTIONS}")
    plan = Plan(
        seconds=60 * given.minutes,
        clients=given.clients,
        redis=redis,
        workers=given.workers,
        seed=random.randrange(1 << 32) if given.seed is None else given.seed,
        changes=changes(given.workers),
    )
    return plan, given.json


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
