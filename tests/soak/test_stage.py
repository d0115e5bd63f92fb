"""How connections may end, and whom the weather excuses."""

from tests.soak.actor import Stage
from tests.soak.logbook import Logbook
from tests.soak.tally import Tally
from tests.soak.weather import Weather


class Now:
    """A clock that is set by hand."""

    at = 0.0

    def __call__(self) -> float:
        return self.at


def stage(now: Now) -> Stage:
    return Stage(1, "secret", Tally(), Weather(now))


def test_a_client_that_ends_as_it_should_is_counted() -> None:
    found = stage(Now())
    found.awaited["flooder-1"] = (0.0, frozenset({1008}))
    found.disconnected("flooder-1", 1008, "")
    assert found.tally.endings["flooder", 1008] == 1
    assert (found.tally.faults, found.awaited) == ([], {})


def test_a_client_that_ends_otherwise_is_a_fault() -> None:
    found = stage(Now())
    found.awaited["flooder-1"] = (0.0, frozenset({1008}))
    found.disconnected("flooder-1", 1000, '"bye"')
    assert found.tally.faults == ['flooder-1 was ended with 1000 "bye", not with 1008']


def test_an_end_of_which_nothing_is_told_is_a_fault() -> None:
    found = stage(Now())
    found.awaited["mute-1"] = (0.0, frozenset({1006}))
    assert not found.told
    assert found.settle() == ["the log does not tell how mute-1 ended"]


def test_of_a_worker_that_was_killed_no_log_tells() -> None:
    found = stage(Now())
    found.awaited["mute-1"] = (0.0, frozenset({1008}))
    with found.weather.spell(1006):
        assert found.told
        assert found.settle() == []


def test_whoever_hangs_up_himself_may_be_lost() -> None:
    found = stage(Now())
    found.awaited |= {"mute-1": (0.0, frozenset({1008})), "staller-1": (0.0, frozenset({1013}))}
    found.curtain("mute")
    found.disconnected("mute-1", 1006, "")
    assert found.tally.faults == []
    found.disconnected("staller-1", 1006, "")
    assert len(found.tally.faults) == 1


def test_the_weather_excuses_what_overlaps_it() -> None:
    now = Now()
    weather = Weather(now)
    now.at = 10.0
    with weather.spell(1001, 1012, forgets=True):
        assert weather.forgets
        assert not weather.fair(0.0)
        now.at = 20.0
    now.at = 30.0
    assert not weather.forgets
    assert weather.excuses(1012, 15.0)
    assert not weather.excuses(1012, 25.0)
    assert not weather.excuses(1006, 15.0)
    assert (weather.fair(15.0), weather.fair(25.0)) == (False, True)


class Written:
    """A server's lines."""

    def __init__(self, *lines: str) -> None:
        self.lines = list(lines)


def read(*lines: str) -> tuple[Tally, list[tuple[str, int, str]]]:
    tally, ended = Tally(), []
    server = Written(*lines)
    Logbook(tally, lambda *one: ended.append(one)).read(server)  # type: ignore[arg-type]
    assert server.lines == []
    return tally, ended


def test_the_log_tells_who_ended_and_how() -> None:
    fields = 'client_id=a-1 address=1:2 code=1008 reason="the rate" duration_s=1'
    tally, ended = read(f"2026-01-01T00:00:00.000Z INFO disconnected {fields}")
    assert ended == [("a-1", 1008, '"the rate"')]
    assert tally.faults == []


def test_a_traceback_in_the_log_is_one_fault_with_all_its_lines() -> None:
    tally, _ = read(
        "2026-01-01T00:00:00.000Z INFO fine",
        "2026-01-01T00:00:00.000Z ERROR broken",
        "Traceback (most recent call last):",
        "ValueError: no",
        "2026-01-01T00:00:00.000Z INFO fine again",
    )
    (fault,) = tally.faults
    assert fault.splitlines()[1:] == ["    Traceback (most recent call last):", "    ValueError: no"]
