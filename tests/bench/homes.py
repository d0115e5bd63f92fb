"""`python -m tests.bench.homes`: what the home of the log costs, and a second worker brings, each against one
server whose log is in memory, in the same rounds."""

import os
import statistics
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, redirect_stdout
from functools import partial
from pathlib import Path
from types import SimpleNamespace

from tests.bench.load import Load
from tests.bench.pauses import busy
from tests.bench.peer import PEERS, Peer
from tests.bench.scenarios import SMALL, WARMUP
from tests.bench.server import CORES, Server
from tests.bench.single import Bench, Figures, main, medians_of
from tests.support.store import StoreProcess

(WSCTL,) = (peer for peer in PEERS if peer.name == "wsctl")

RATE = 200.0
"""Messages a second, at which the time from publishing to receipt is taken."""

BATCHES = 10_000
"""Messages a second that come in batches, at which the pauses of the event loop are taken."""

WINDOW = 16
"""Messages under way at a time where servers do as much as they can."""

HOMES = ("memory", "redis", "full", "normal", "workers")
"""Where the log is; the third and the fourth are journals, with one or the other `--journal-sync`."""

BASES = {**dict.fromkeys(HOMES[1:], "memory"), "two workers": "one worker"}
"""What each is compared with."""


def _measure(size: SimpleNamespace) -> Figures:
    homes = [name for name in HOMES if name == "memory" or name in size.only]
    with ExitStack() as stack:
        url = stack.enter_context(store()).url if "redis" in homes else ""
        found = medians_of(lambda: one_round(homes, url, size.clients, size.seconds), size.rounds)
    for name in found.copy():
        what, _, where = name.partition(" ")
        base = f"{what} {BASES.get(where, '')}"
        if base in found:
            found[f"{name} ratio"] = found[name] / found[base]
    return found


@contextmanager
def store() -> Iterator[StoreProcess]:
    """A Redis that keeps nothing on the disk."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="wsb")))
        process = StoreProcess.start("valkey", folder, "--appendonly", "no")
        # It prints its log when it is closed.
        stack.enter_context(redirect_stdout(stack.enter_context(open(os.devnull, "w"))))
        stack.callback(process.close)
        if CORES and process.process:  # it is meant to be elsewhere, not on the server's core
            os.sched_setaffinity(process.process.pid, {CORES[1]})
        yield process


def one_round(homes: Sequence[str], url: str, clients: int, seconds: float) -> Figures:
    """Each measurement once with each of the homes, one after the other."""
    few = max(1, clients // 10)
    found: Figures = {}
    with tempfile.TemporaryDirectory(prefix="wsb", dir=".") as folder:  # elsewhere files may be in memory
        journal = ("--journal", f"{folder}/journal")
        all_flags = {
            "memory": (),
            "redis": ("--redis", url),
            "full": journal,
            "normal": (*journal, "--journal-sync", "normal"),
            "workers": ("--workers", "2"),
        }
        flags = {name: all_flags[name] for name in homes}
        found |= {f"cpu_us {name}": cost(extra, clients, seconds) for name, extra in flags.items()}
        for name, extra in flags.items():
            measure = latency_across if name == "redis" else latency
            found[f"p99_ms {name}"] = measure(extra, few, seconds)
        for name in (name for name in ("memory", "full") if name in flags):
            with Server(WSCTL, *flags[name]) as server:
                pauses = busy(server.port, BATCHES, seconds)
            found |= {f"pause_ms {name}": pauses.longest_ms, f"publishes_per_s {name}": pauses.rate}
    if "workers" in homes:
        for number, name in ((1, "one worker"), (2, "two workers")):
            measured = capacity(number, clients, seconds)
            found |= {f"{what} {name}": value for what, value in measured.items()}
    return found


def cost(extra: Sequence[str], clients: int, seconds: float, peer: Peer = WSCTL) -> float:
    """CPU of the server's processes per delivery, in microseconds, with one message at a time."""
    with Server(peer, *extra) as server, _load(server) as load:
        load.connect(clients - 1)
        publish = partial(load.publish, SMALL)
        load.pump(publish, count=WARMUP)
        before = server.cpu_of_all()
        run = load.pump(publish, seconds=seconds)
        return (server.cpu_of_all() - before) * 1e6 / (run.broadcasts * len(load))


def capacity(workers: int, clients: int, seconds: float) -> Figures:
    """Deliveries a second with many messages under way, and the CPU for each, in microseconds; the servers
    have all cores, of which the load takes its share."""
    with Server(WSCTL, "--workers", str(workers), pinned=False) as server, _load(server) as load:
        load.connect(clients - 1)
        publish = partial(load.publish, SMALL)
        load.pump(publish, count=WARMUP)
        before = server.cpu_of_all()
        run = load.pump(publish, seconds=seconds, window=WINDOW)
        deliveries = run.broadcasts * len(load)
        return {
            "deliveries_per_s": deliveries / run.seconds,
            "cpu_us": (server.cpu_of_all() - before) * 1e6 / deliveries,
        }


def latency(extra: Sequence[str], clients: int, seconds: float) -> float:
    """The 99th percentile from publishing to receipt, in milliseconds, within one server."""
    with Server(WSCTL, *extra) as server, _load(server) as load:
        load.connect(clients - 1)
        return _percentile(load, partial(load.publish, SMALL), seconds)


def latency_across(extra: Sequence[str], clients: int, seconds: float) -> float:
    """The same, published at one server and received at another one."""
    with (
        Server(WSCTL, *extra) as there,
        Server(WSCTL, *extra) as here,
        closing(Load(there.port)) as publisher,
        closing(Load(here.port, first="reader")) as load,
    ):
        load.publish_by(publisher)
        load.calibrate()
        load.connect(clients - 1)
        return _percentile(load, partial(load.publish, SMALL), seconds)


def _percentile(load: Load, publish: Callable[[], None], seconds: float) -> float:
    load.pump(publish, count=WARMUP)
    return statistics.quantiles(load.pace(publish, RATE, seconds), n=100)[98] * 1000


@contextmanager
def _load(server: Server) -> Iterator[Load]:
    with closing(Load(server.port)) as load:
        load.calibrate()
        yield load


_FREE = (os.cpu_count() or 1) - 1

NOTE = (
    "`workers` are two and their parent, all on one core, as the others have one. `one worker` and "
    "`two workers` share all cores with the load, which takes one of them. "
    + (
        "Here that leaves less than a core for each of the two: their deliveries a second say what a second "
        "worker costs where no core is free for it, not what it brings where one is."
        if _FREE < 2
        else "Here that leaves a core for each of the two."
    )
    + " The CPU of a delivery, all processes together, is the figure to plan with."
)
"""How to read the figures of two workers."""

BENCH = Bench(
    "homes",
    "where the log is kept, against memory, and two workers against one: CPU µs a delivery, ms, and rates",
    _measure,
    full={"rounds": 3, "clients": 1000, "seconds": 0.7, "only": HOMES},
    quick={"rounds": 0, "clients": 20, "seconds": 0.1, "only": ("full",)},
    note=NOTE,
)

if __name__ == "__main__":
    main(BENCH)
