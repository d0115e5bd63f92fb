"""`python -m tests.bench.scale`: what it costs to share a Redis, against the same server alone."""

import argparse
import gc
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, redirect_stdout
from functools import partial
from pathlib import Path

from tests.bench.load import Load
from tests.bench.peer import PEERS
from tests.bench.scenarios import SMALL, WARMUP
from tests.bench.server import CORES, Server
from tests.support.store import StoreProcess

(WSCTL,) = (peer for peer in PEERS if peer.name == "wsctl")

Figures = dict[str, float]


def main(arguments: Sequence[str]) -> int:
    """Returns the exit code; prints the medians as a table, or as JSON."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.scale", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--clients", type=int, default=1000, help="of the node whose cost is measured")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    if CORES:
        os.sched_setaffinity(0, {CORES[1]})
    found = _medians(options.rounds, options.clients, options.seconds)
    if options.json:
        print(json.dumps({name: round(value, 3) for name, value in found.items()}))
        return 0
    for name, value in found.items():
        print(f"{name:34} {value:8.2f}")
    return 0


def _medians(rounds: int, clients: int, seconds: float) -> Figures:
    runs: dict[str, list[float]] = {}
    gc.disable()
    with store() as url:
        for _ in range(rounds):
            for name, value in one_round(url, clients, seconds).items():
                runs.setdefault(name, []).append(value)
    found = {name: statistics.median(values) for name, values in runs.items()}
    for what in ("cpu_us", "p99_ms"):
        found[f"{what} ratio"] = found[f"{what} shared"] / found[f"{what} alone"]
    return found


@contextmanager
def store() -> Iterator[str]:
    """A Redis that keeps nothing on the disk; its URL."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="wsb")))
        process = StoreProcess.start("valkey", folder, "--appendonly", "no")
        stack.enter_context(redirect_stdout(sys.stderr))  # it tells its log when it is closed
        stack.callback(process.close)
        if CORES and process.process:  # it is meant to be elsewhere, not on the server's core
            os.sched_setaffinity(process.process.pid, {CORES[1]})
        yield process.url


def one_round(url: str, clients: int, seconds: float) -> Figures:
    """Each measurement once, alone and shared in turn."""
    shared = ("--redis", url)
    few, rate = max(1, clients // 10), 200.0
    return {
        "cpu_us alone": cost((), clients, seconds),
        "cpu_us shared": cost(shared, clients, seconds),
        "p99_ms alone": latency_alone(few, rate, seconds),
        "p99_ms shared": latency_across(shared, few, rate, seconds),
    }


def cost(extra: Sequence[str], clients: int, seconds: float) -> float:
    """CPU of the server process per delivery, in microseconds, with one message at a time."""
    with Server(WSCTL, *extra) as server, _load(server) as load:
        load.connect(clients - 1)
        publish = partial(load.publish, SMALL)
        load.pump(publish, count=WARMUP)
        before = server.cpu()
        run = load.pump(publish, seconds=seconds)
        return (server.cpu() - before) * 1e6 / (run.broadcasts * len(load))


def latency_alone(clients: int, rate: float, seconds: float) -> float:
    """The 99th percentile from publishing to receipt, in milliseconds, within one server."""
    with Server(WSCTL) as server, _load(server) as load:
        load.connect(clients - 1)
        return _percentile(load, partial(load.publish, SMALL), rate, seconds)


def latency_across(extra: Sequence[str], clients: int, rate: float, seconds: float) -> float:
    """The same, published at one server and received at another one."""
    with (
        Server(WSCTL, *extra) as there,
        Server(WSCTL, *extra) as here,
        closing(Load(there.port, greeted=True)) as publisher,
        closing(Load(here.port, greeted=True, first="reader")) as load,
    ):
        load.publish_by(publisher)
        load.calibrate()
        load.connect(clients - 1)
        return _percentile(load, partial(load.publish, SMALL), rate, seconds)


def _percentile(load: Load, publish: Callable[[], None], rate: float, seconds: float) -> float:
    load.pump(publish, count=WARMUP)
    return statistics.quantiles(load.pace(publish, rate, seconds), n=100)[98] * 1000


@contextmanager
def _load(server: Server) -> Iterator[Load]:
    with closing(Load(server.port, greeted=True)) as load:
        load.calibrate()
        yield load


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
