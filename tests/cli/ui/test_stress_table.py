"""A stress run for people."""

import io

import pytest
from rich.console import Console

from tests.support.stress import report
from wsctl.cli.ui.stress_table import StressLines, notes, summary
from wsctl.stress.timing import Quantiles


def printed(**facts: object) -> list[str]:
    stream = io.StringIO()
    Console(file=stream, soft_wrap=True, highlight=False, width=20).print(summary(report(**facts)))
    return stream.getvalue().splitlines()


def test_the_summary_has_a_figure_a_line_whatever_the_width() -> None:
    assert printed(latency=Quantiles(0.001, 0.0123, 0.2, 1.5)) == [
        "duration      0:01",
        "connected     2 of 2",
        "sent          10",
        "delivered     20 of 20",
        "missed        0",
        "duplicated    0",
        "out of order  0",
        "latency       p50 1 ms  p95 12.3 ms  p99 200 ms  max 1.5 s",
        "silence       100 ms at most",
    ]


def test_what_is_seldom_is_shown_when_it_happened() -> None:
    rare = {
        "unconfirmed": 4,
        "reconnects": 5,
        "resumed": 4,
        "unrecovered": 1,
        "planned": 2,
        "failures": 6,
        "degraded": 2,
        "close_codes": {1012: 2, 1006: 1},
        "refused": {503: 3},
        "errors": {"rate_limited": 7},
    }
    assert printed(**rare, latency=None, silence_s=None)[7:] == [
        "latency       -",
        "silence       -",
        "unconfirmed   4",
        "reconnects    5  resumed 4  unrecovered 1  planned 2",
        "closed        1012 x2  1006 x1",
        "refused       503 x3",
        "unreachable   6",
        "degraded      2",
        "errors        rate_limited x7",
    ]


def test_several_servers_are_told_with_their_clients() -> None:
    assert printed(servers={"http://a": 2, "http://b\x1b": 0})[1:4] == [
        "connected     2 of 2",
        "on            http://a: 2",
        "on            http://b\\x1b: 0",
    ]


def test_a_servers_words_cannot_act_on_the_terminal() -> None:
    assert printed(errors={"\x1b[2J[red]\n": 1})[-1] == "errors        \\x1b[2J[red]\\n x1"


def test_a_line_tells_how_far_it_is_and_the_same_figures() -> None:
    stream = io.StringIO()
    StressLines(stream, 90.0).show(report(duration_s=12.3, close_codes={1012: 2}))
    assert stream.getvalue() == (
        "stress: 0:12 of 1:30, connected 2 of 2, sent 10, delivered 20 (20/s), missed 0, duplicated 0, "
        "out of order 0, latency p50 1 ms  p95 2 ms  p99 3 ms  max 4 ms, silence 100 ms at most, "
        "closed 1012 x2\n"
    )


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"unrecovered": 3}, "3 times a client was told that it has lost messages"),
        ({"degraded": 2}, "2 times a client was told that its server takes no messages"),
        ({"replayed": 7}, "7 deliveries came late"),
        ({"reconnects": 1, "silence_s": 1.25}, "longer than 1.25 s"),
        ({"connected": 1}, "1 of 2 clients were not connected"),
        ({"unconfirmed": 1}, "reached nobody"),
        ({"errors": {"rate_limited": 1}}, "a lower --rate"),
        ({"sent": 8}, "8 messages were sent, not the 10 asked for"),
        ({"lag_s": 0.15}, "150 ms late"),
    ],
)
def test_what_one_has_to_know_is_said_only_when_it_is_so(facts: dict[str, object], said: str) -> None:
    assert notes(report(), 10.0) == []
    (sentence,) = notes(report(**facts), 10.0)
    assert said in sentence
