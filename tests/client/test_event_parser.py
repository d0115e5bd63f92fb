"""Server-sent events, in whichever pieces they come."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from tests.support.event_streams import read_events
from wsctl.client.event_parser import EventParser

LINES = st.sampled_from(
    ["", "data: a", "data:ä", "data", "event: x", "id: 7", ":", "retry: 1500", "retry: x", "nonsense"]
)


@given(
    lines=st.lists(st.tuples(LINES, st.sampled_from(["\n", "\r\n", "\r"]))),
    cuts=st.lists(st.integers(0, 200)),
    mark=st.sampled_from(["", "\ufeff"]),
)
def test_a_stream_is_read_as_the_standard_says_wherever_it_is_cut(
    lines: list[tuple[str, str]], cuts: list[int], mark: str
) -> None:
    stream = (mark + "".join(line + end for line, end in lines) + "\n\n").encode()
    places = sorted({0, len(stream), *(min(cut, len(stream)) for cut in cuts)})
    parser = EventParser()
    found = [event for a, b in pairwise(places) for event in parser.feed(stream[a:b])]
    whole = read_events(stream)
    told = [(event.type, event.data) for event in whole.events if event.data]
    assert [(event.type, event.data) for event in found if event.data] == told
    assert parser.retry == (None if whole.retry is None else whole.retry / 1000)
