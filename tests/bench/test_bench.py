"""The bench as a person runs it, on a small scale: it measures, and says what it measured."""

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.bench.homes import NOTE
from tests.bench.one_stream import RATES
from tests.bench.pages import PAGES, RESULTS, written
from tests.bench.pauses import MESSAGE, busy
from tests.bench.peer import PEERS, Peer
from tests.bench.rounds import run
from tests.bench.scenarios import QUICK, Scale, Scenario
from tests.bench.server import Server
from tests.bench.single import medians
from tests.bench.table import figures, single, summary
from tests.support.processes import lending
from tests.support.server import DEADLINE

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the bench needs Linux")

COSTS = {"fanout_us", "many_us", "queued_us", "latency_p50_ms", "latency_p99_ms", "latency_max_ms"}
POSITIVE = COSTS | {"handshakes_per_s", "handshake_us", "slow_rate"}
NOT_NEGATIVE = {"fanout_user_us", "slow_growth_mib", "slow_cut"}
HOMES = (sys.executable, "-m", "tests.bench.homes")
OF_WSCTL_ALONE = {"forced_closed", "forced_spread_s"}


def bench(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "tests.bench", *arguments],
        cwd=Path(__file__).parent.parent.parent,
        env=lending(),
        capture_output=True,
        text=True,
        timeout=3 * DEADLINE,
        check=False,
    )


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, Any], ElementTree.Element]:
    """The table, the JSON and the plot of a quick run of the floor and wsctl."""
    folder = tmp_path_factory.mktemp("bench")
    results, plot = folder / "results.json", folder / "results.svg"
    done = bench("--quick", "--only", "floor", "wsctl", "--json", str(results), "--svg", str(plot))
    assert done.returncode == 0, done.stderr
    return done.stdout, json.loads(results.read_text()), ElementTree.parse(plot).getroot()


def test_every_figure_is_measured_for_the_floor_and_for_wsctl(measured: Any) -> None:
    _, results, _ = measured
    for name in ("floor", "wsctl"):
        figures = {key: cell["value"] for key, cell in results["servers"][name].items()}
        assert set(figures) >= POSITIVE | NOT_NEGATIVE
        assert "kib_per_connection" in figures
        assert {key for key in POSITIVE if figures[key] <= 0} == set()
        assert {key for key in NOT_NEGATIVE if figures[key] < 0} == set()
        assert figures["order_errors"] == 0
    assert set(results["servers"]["wsctl"]) >= OF_WSCTL_ALONE


def test_costs_are_compared_with_the_floor(measured: Any) -> None:
    _, results, _ = measured
    floor, wsctl = results["servers"]["floor"], results["servers"]["wsctl"]
    for key in COSTS - {"latency_max_ms"}:
        assert floor[key]["ratio"] == 1
        ratio = wsctl[key]["value"] / floor[key]["value"]
        assert wsctl[key]["ratio"] == pytest.approx(ratio, rel=0.01, abs=0.0005)  # it has three decimals


def test_the_table_shows_the_figures_of_the_json(measured: Any) -> None:
    table, results, _ = measured
    for key in ("handshakes_per_s", "forced_closed"):
        assert f" {results['servers']['wsctl'][key]['value']:,.0f} |" in table
    assert "map(os.write)" in table


def test_the_plot_names_the_servers_and_says_what_is_below_the_floor(measured: Any) -> None:
    _, _, plot = measured
    texts = {element.text for element in plot.iter("{http://www.w3.org/2000/svg}text")}
    assert "Below the floor, left of the line, is a server" in " ".join(filter(None, texts))
    assert {peer.title for peer in PEERS if peer.name in ("floor", "wsctl")} <= texts


def test_what_a_home_of_the_log_costs_is_measured_against_memory() -> None:
    done = subprocess.run(
        [*HOMES, "--rounds", "0", "--clients", "20", "--seconds", "0.2", "--only", "full", "--json"],
        cwd=Path(__file__).parent.parent.parent,
        env=lending(),
        capture_output=True,
        text=True,
        timeout=3 * DEADLINE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    figures = ("cpu_us", "p99_ms", "pause_ms", "publishes_per_s")
    assert {f"{what} {where}" for what in figures for where in ("memory", "full", "full ratio")} == set(found)
    # Within a fifth of a second a loop may make no pause that is measured.
    assert min(value for name, value in found.items() if "pause_ms" not in name) > 0
    assert found["cpu_us full ratio"] == pytest.approx(
        found["cpu_us full"] / found["cpu_us memory"], rel=0.01
    )


def test_what_a_message_costs_in_one_stream_is_measured_for_each_process() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.one_stream", "--rounds", "0", "--seconds", "0.2", "--json"],
        cwd=Path(__file__).parent.parent.parent,
        env=lending(),
        capture_output=True,
        text=True,
        timeout=3 * DEADLINE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    processes = ("publisher_us", "reader_us", "store_us")
    assert set(found) == {f"{name} at {rate}/s" for name in processes for rate in RATES}
    assert min(found.values()) > 0


def test_a_bench_of_one_question_is_measured_by_the_same_command(tmp_path: Path) -> None:
    results = tmp_path / "results.json"
    done = bench("--quick", "--only", "startup", "--json", str(results))
    assert done.returncode == 0, done.stderr
    found = json.loads(results.read_text())
    assert found["servers"] == {}
    assert found["singles"]["startup"]["figures"]["ready ratio"] > 0
    assert "| ready ratio " in done.stdout


def test_what_one_has_to_know_stands_below_the_figures_of_a_bench() -> None:
    shown = single({"about": "workers", "figures": {"ratio": 0.8}, "note": NOTE})
    assert shown.splitlines()[-1] == NOTE
    assert "share all cores with the load" in shown


def test_the_first_of_several_rounds_does_not_count() -> None:
    values = iter([100.0, 1.0, 2.0, 3.0])
    assert medians({"cost_us": lambda: next(values)}, rounds=3) == {"cost_us": 2.0}
    assert medians({"cost_us": lambda: 7.0}, rounds=0) == {"cost_us": 7.0}


def test_a_ratio_is_the_median_of_those_of_the_rounds_of_which_each_begins_with_another() -> None:
    order: list[str] = []

    def cost(name: str, values: Iterator[float]) -> float:
        order.append(name)
        return next(values)

    ours, theirs = iter([9.0, 2.0, 8.0, 30.0]), iter([1.0, 2.0, 1.0, 10.0])
    measures = {"ours": partial(cost, "ours", ours), "theirs": partial(cost, "theirs", theirs)}
    found = medians(measures, 3, {"ratio": ("ours", "theirs")})
    assert found == {"ours": 8.0, "theirs": 2.0, "ratio": 3.0}
    assert order[:4] == ["ours", "theirs", "theirs", "ours"]


@pytest.mark.parametrize(("floor", "ratio"), [([1.0, 8.0, 4.0], 1.0), ([1.0, 8.0], 2 / 3)])
def test_the_ratio_to_the_floor_is_that_of_the_same_rounds(floor: list[float], ratio: float) -> None:
    runs = {"floor": {"many_us": floor}, "wsctl": {"many_us": [1.5, 8.0, 3.0]}}
    cell = summary(runs, figures(QUICK))["wsctl"]["many_us"]
    assert (cell["value"], cell["ratio"]) == (3.0, round(ratio, 3))


def test_each_round_begins_with_another_server_and_the_first_measurement_does_not_count() -> None:
    peers = [Peer(name, name, ()) for name in ("a", "b")]
    measured: list[str] = []

    def measure(peer: Peer, scale: Scale) -> dict[str, float]:
        measured.append(peer.name)
        return {"cost_us": float(len(measured))}

    outcome = run(peers, [Scenario("one", 2, measure)], QUICK, 2, lambda line: None)
    assert measured == ["a", "a", "b", "b", "a"]
    assert outcome.runs == {"a": {"cost_us": [2.0, 5.0]}, "b": {"cost_us": [3.0, 4.0]}}


@pytest.mark.parametrize("path", list(PAGES), ids=lambda path: path.name)
def test_readme_and_the_manual_show_the_results(path: Path) -> None:
    text = path.read_text()
    part = PAGES[path](json.loads(RESULTS.read_text()))
    assert part in text
    assert written(text, part) == text


def test_a_server_that_is_not_there_is_left_out_with_the_reason() -> None:
    assert Peer("x", "x", (), needs="no_such_module").missing == "there is no module no_such_module here"
    assert Peer("x", "x", (), probe=("no-such-program",)).missing == "there is no no-such-program here"
    assert Peer("x", "x", (), probe=("false",)).missing == "`false` fails"
    assert Peer("x", "x", (), probe=("true",), needs="json").missing == ""


def test_a_server_may_say_where_it_listens_in_its_log_and_has_its_core_from_the_start() -> None:
    log = "Version: 2:9", "Listening on ws://127.0.0.1:4711", "Server is ready"
    program = f"printf '%s\\n' {' '.join(map(repr, log))}; nproc >&2; exec sleep 60"
    with Server(Peer("x", "x", ("sh", "-c", program))) as server:
        assert server.port == 4711
        assert server.complaint() == "1"


def test_an_unknown_name_is_refused() -> None:
    done = bench("--only", "nobody")
    assert done.returncode == 2
    assert "nobody" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_pause_from_which_the_only_answer_comes_is_counted() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as executor:

        def serve() -> None:
            client, _ = listener.accept()
            with client:
                client.recv(65536)
                client.sendall(b"{}")
                asker, _ = listener.accept()
                with asker:
                    client.recv(65536)
                    client.sendall(MESSAGE)
                    time.sleep(0.05)  # what is measured; by then all messages are back
                    asker.sendall(b"HTTP/1.1 200 OK\r\n\r\n")

        served = executor.submit(serve)
        pauses = busy(listener.getsockname()[1], rate=100, seconds=0.01)
        served.result()
    assert pauses.longest_ms > 0
