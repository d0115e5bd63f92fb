"""`python -m tests.bench.one_stream`: the CPU of a message with one Redis stream for all servers: where it is
published, at a server that only reads it and has nobody for it, and in the store. Its reciprocal is how many
a second one core takes, whatever else the machine does."""

import socket
import statistics
from collections.abc import Sequence
from contextlib import ExitStack
from time import perf_counter, sleep

from tests.bench.frames import TEXT, frame
from tests.bench.homes import WSCTL, store
from tests.bench.pauses import EVERY, MESSAGE, greeted
from tests.bench.server import Server, cpu_of
from tests.bench.single import Bench, Figures, main, medians_of

RATES = (1_000, 10_000)
"""Messages a second: the more there are, the more of them share a round trip."""

SILENCE = 10.0
"""Seconds without a message after which one is lost."""


def one_round(seconds: float, readers: int) -> Figures:
    """A run at each of the rates."""
    found = {rate: one_run(rate, seconds, readers) for rate in RATES}
    return {f"{name} at {rate}/s": value for rate, run in found.items() for name, value in run.items()}


def one_run(rate: int, seconds: float, readers: int) -> Figures:
    """The CPU of each process for a message, in microseconds, while so many are published a second."""
    with ExitStack() as stack:
        redis = stack.enter_context(store())
        assert redis.process
        flags = ("--redis", redis.url)
        servers = [stack.enter_context(Server(WSCTL, *flags, pinned=False)) for _ in range(1 + readers)]
        pids = [*(server.pid for server in servers), redis.process.pid]
        publish(servers[0].port, rate, 0.5)
        _settle(servers)
        before = [*map(cpu_of, pids)]
        count = publish(servers[0].port, rate, seconds)
        _settle(servers)
        spent = [(cpu_of(pid) - cpu) * 1e6 / count for pid, cpu in zip(pids, before, strict=True)]
    return {"publisher_us": spent[0], "reader_us": statistics.mean(spent[1:-1]), "store_us": spent[-1]}


def _settle(servers: Sequence[Server]) -> None:
    for server in servers:
        server.settle()


def publish(port: int, rate: int, seconds: float) -> int:
    """Publish so many messages a second, in batches, each when the one before has come back; return how many
    they were.

    Raises:
        ConnectionError: one did not come back.
    """
    size = round(rate * EVERY)
    batch = frame(TEXT, b"x" * 100) * size
    batches = round(seconds / EVERY)
    with greeted(port) as client:
        client.settimeout(SILENCE)
        begun = perf_counter()
        for n in range(batches):
            sleep(max(0.0, begun + n * EVERY - perf_counter()))
            client.sendall(batch)
            _receive(client, size)
    return batches * size


def _receive(client: socket.socket, count: int) -> None:
    received, rest = 0, b""
    while received < count:
        try:
            chunk = client.recv(1 << 20)
        except TimeoutError:
            chunk = b""
        if not chunk:
            raise ConnectionError(f"only {received} of {count} messages came back")
        data = rest + chunk
        received += data.count(MESSAGE)
        rest = data[-(len(MESSAGE) - 1) :]


BENCH = Bench(
    "one_stream",
    "a message in the Redis stream that all servers share: CPU µs of each process",
    lambda size: medians_of(lambda: one_round(size.seconds, size.readers), size.rounds),
    full={"rounds": 3, "seconds": 1.0, "readers": 1},
    quick={"rounds": 0, "seconds": 0.1},
)

if __name__ == "__main__":
    main(BENCH)
