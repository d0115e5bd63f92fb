"""What is measured: each scenario takes a fresh server and gives figures by name."""

import json
import random
import statistics
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial

from tests.bench.closes import close_code, time_closes
from tests.bench.load import Load, Run
from tests.bench.peer import Peer
from tests.bench.server import Server

Figures = dict[str, float]

SMALL, JSON_SIZE, LARGE = 128, 4096, 16384
"""Bytes of a delivered payload."""

WARMUP = 5
"""Broadcasts before a measurement."""


@dataclass(frozen=True)
class Scale:
    """How much of everything: clients, seconds, broadcasts."""

    clients: int
    many: int
    seconds: float
    paced: float
    slow: int
    large: int


FULL = Scale(clients=1000, many=10000, seconds=0.7, paced=2.0, slow=10, large=260)
QUICK = Scale(clients=20, many=40, seconds=0.1, paced=0.3, slow=2, large=20)


@dataclass(frozen=True)
class Scenario:
    """One sitting with one server. `rounds` is how often a full run repeats it."""

    name: str
    rounds: int
    measure: Callable[[Peer, Scale], Figures]
    only: str = ""


@contextmanager
def _sitting(peer: Peer, *extra: str) -> Iterator[Server]:
    """A server of its own; `extra` flags are for wsctl."""
    with Server(peer, *(extra if peer.name == "wsctl" else ())) as server:
        try:
            yield server
        except ConnectionError as error:
            raise ConnectionError(f"{error} (the server: {server.complaint()})") from error


@contextmanager
def _load(server: Server, peer: Peer, *, deflate: bool = False) -> Iterator[Load]:
    """A publisher that is connected and knows how the server wraps what it sends."""
    with closing(Load(server.port, speech=peer.speech, deflate=deflate)) as load:
        load.calibrate()
        yield load


def _cost(
    server: Server,
    load: Load,
    publish: Callable[[], None],
    seconds: float,
    *,
    window: int = 1,
    warmup: int = WARMUP,
) -> Figures:
    """CPU of the server per delivery, in microseconds: all of it, and what is spent in user space."""
    load.pump(publish, count=warmup)
    cpu, ticks = server.cpu(), server.ticks()
    run = load.pump(publish, seconds=seconds, window=window)
    if run.stalled:
        raise ConnectionError("nothing came any more")
    us = (server.cpu() - cpu) * 1e6 / (run.broadcasts * len(load))
    user, kernel = (after - before for after, before in zip(server.ticks(), ticks, strict=True))
    return {"us": us, "user_us": us * user / max(1, user + kernel)}


def thousand(peer: Peer, scale: Scale) -> Figures:
    """One at a time, many outstanding, and at a steady rate, to the same clients."""
    with _sitting(peer) as server, _load(server, peer) as load:
        load.connect(scale.clients - 1)
        small = partial(load.publish, SMALL)
        one = _cost(server, load, small, scale.seconds)
        queued = _cost(server, load, small, scale.seconds, window=16)
        latencies = load.pace(small, rate=10, seconds=scale.paced)
        percentiles = statistics.quantiles(latencies, n=100)
        return {
            "fanout_us": one["us"],
            "fanout_user_us": one["user_us"],
            "queued_us": queued["us"],
            "latency_p50_ms": percentiles[49] * 1000,
            "latency_p99_ms": percentiles[98] * 1000,
            "latency_max_ms": max(latencies) * 1000,
            "order_errors": load.stream.errors,
        }


def crowd(peer: Peer, scale: Scale) -> Figures:
    """Many come at once, wait, and get broadcasts."""
    with _sitting(peer) as server, _load(server, peer) as load:
        before, cpu, came = server.memory(), server.cpu(), scale.many - 1
        seconds = load.connect(came)
        handshakes = server.cpu() - cpu
        server.settle()
        figures = {
            "handshakes_per_s": came / seconds,
            "handshake_us": 1e6 * handshakes / came,
            "kib_per_connection": (server.memory() - before) / came,
        }
        cost = _cost(server, load, partial(load.publish, SMALL), scale.seconds, warmup=1)
        return figures | {"many_us": cost["us"], "order_errors": load.stream.errors}


def slow(peer: Peer, scale: Scale) -> Figures:
    """Some stop reading: what the others notice, and what the server keeps for them."""
    with _sitting(peer, "--max-queue", "1m") as server, _load(server, peer) as load:
        load.connect(scale.clients - scale.slow - 1)
        large = partial(load.publish, LARGE)
        load.pump(large, count=WARMUP)
        undisturbed = _rate(load.pump(large, count=max(10, scale.large // 6)), len(load))
        idlers = load.connect_idlers(scale.slow)
        memory = [server.memory()]
        run = load.pump(large, count=scale.large, between=lambda: memory.append(server.memory()))
        memory.append(server.memory())
        return {
            "slow_rate": 0.0 if run.stalled else _rate(run, len(load)) / undisturbed,
            "slow_growth_mib": (max(memory) - memory[0]) / 1024,
            "slow_cut": sum(close_code(fd) is not None for fd in idlers),
            "order_errors": load.stream.errors,
        }


def _rate(run: Run, clients: int) -> float:
    """Deliveries a second."""
    return run.broadcasts * clients / run.seconds


def compression(peer: Peer, scale: Scale) -> Figures:
    """The same JSON as it is, and compressed; nothing when the server does not compress."""
    costs = []
    with _sitting(peer) as server:
        for deflate in (False, True):
            with _load(server, peer, deflate=deflate) as load:
                if deflate and not load.deflated:
                    return {}
                load.connect(scale.clients - 1)
                publish = partial(load.publish, JSON_SIZE, _TICKS)
                costs.append(_cost(server, load, publish, scale.seconds)["us"])
    return {"plain_us": costs[0], "deflated_us": costs[1]}


def forced(peer: Peer, scale: Scale) -> Figures:
    """The deadline comes for everybody: close frames, and the seconds from the first to the last."""
    with _sitting(peer, "--shutdown-timeout", "0") as server, _load(server, peer) as load:
        load.connect(scale.many - 1)
        times = time_closes(load.fds, server.terminate)
        return {"forced_closed": len(times), "forced_spread_s": max(times) - min(times)}


def _ticks() -> bytes:
    """JSON as a ticker sends it, always the same."""
    draw = random.Random(1)
    rows = [
        {
            "id": draw.randrange(10**6),
            "price": draw.randrange(10**5) / 100,
            "side": draw.choice(["buy", "sell"]),
        }
        for _ in range(200)
    ]
    return json.dumps(rows).encode()


_TICKS = _ticks()

SCENARIOS = (
    Scenario("thousand", 5, thousand),
    Scenario("crowd", 3, crowd),
    Scenario("slow", 1, slow),
    Scenario("compression", 3, compression, only="wsctl"),
    Scenario("forced", 3, forced, only="wsctl"),
)
