"""Processes that know nothing of each other's messages."""

from hypothesis import given
from hypothesis import strategies as st

from wsctl.log.message_log import MessageLog
from wsctl.server.isolated_workers import distinct_wall_clock

MOMENTS = st.floats(1.0e9, 4.0e9)


@given(MOMENTS, st.integers(2, 64), st.data())
def test_no_id_is_of_two_islands(moment: float, of: int, data: st.DataObject) -> None:
    numbers = data.draw(st.lists(st.integers(1, of), min_size=2, max_size=2, unique=True))
    later = data.draw(st.lists(st.floats(0, 0.2), max_size=5))
    ids: list[set[str]] = []
    for number in numbers:
        now = moment
        log = MessageLog(lambda entry: 0, 10, 1 << 20, distinct_wall_clock(number, of, lambda: now))  # noqa: B023
        found = {log.newest}
        for pause in later:
            now += pause
            log.append("server", "x")
            found.add(log.newest)
        ids.append(found)
    assert not ids[0] & ids[1]


@given(MOMENTS, st.integers(1, 64), st.data())
def test_it_is_the_clock_but_for_a_few_milliseconds(moment: float, of: int, data: st.DataObject) -> None:
    number = data.draw(st.integers(1, of))
    assert abs(distinct_wall_clock(number, of, lambda: moment)() - moment) <= of / 1000
