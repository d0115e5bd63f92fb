"""`python -m tests.bench.one_stream`: the CPU of a message with one Redis stream for all servers: where it is
published, at a server that only reads it and has nobody for it, and in the store. Its reciprocal is how many
a second one core takes, whatever else the machine does."""

import argparse
import json
import socket
import statistics
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack, redirect_stdout
from pathlib import Path
from time import perf_counter, sleep

from tests.bench.frames import TEXT, frame
from tests.bench.homes import WSCTL
from tests.bench.pauses import EVERY, MESSAGE, greeted
from tests.bench.server import Server, cpu_of
from tests.support.store import StoreProcess

RATES = (1_000, 10_000)
"""Messages a second: the more there are, the more of them share a round trip."""

SILENCE = 10.0
"""Seconds without a message after which one is lost."""

Figures = dict[str, float]


def main(arguments: Sequence[str]) -> int:
    """Returns the exit code; prints the medians as a table, or as JSON."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.one_stream", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--readers", type=int, default=1, help="servers beside the one that publishes")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    runs: dict[str, list[float]] = {}
    for _ in range(options.rounds):
        for rate in RATES:
            for name, value in one_run(rate, options.seconds, options.readers).items():
                runs.setdefault(f"{name} at {rate}/s", []).append(value)
    found = {name: statistics.median(values) for name, values in runs.items()}
    if options.json:
        print(json.dumps({name: round(value, 3) for name, value in found.items()}))
        return 0
    for name, value in found.items():
        print(f"{name:34} {value:10.2f}")
    return 0


def one_run(rate: int, seconds: float, readers: int) -> Figures:
    """The CPU of each process for a message, in microseconds, while so many are published a second."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="wsb")))
        store = StoreProcess.start("valkey", folder, "--appendonly", "no")
        stack.enter_context(redirect_stdout(sys.stderr))  # it tells its log when it is closed
        stack.callback(store.close)
        assert store.process
        flags = ("--redis", store.url)
        servers = [stack.enter_context(Server(WSCTL, *flags, pinned=False)) for _ in range(1 + readers)]
        pids = [*(server.pid for server in servers), store.process.pid]
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


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
