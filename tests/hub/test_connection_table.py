"""The connections of other processes, and to how many of them a message goes."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from wsctl.hub.connection_table import ConnectionTable
from wsctl.topics import matches

TOPICS = ("a", "a.b", "a.c", "d")
PATTERNS = (*TOPICS, "a.*", ">", "*")
NAMES = ("bob", "eve", "joe")

steps = st.lists(
    st.tuples(
        st.integers(0, 9), st.sampled_from(NAMES), st.none() | st.lists(st.sampled_from(PATTERNS), max_size=3)
    ),
    max_size=30,
)


@given(
    steps=steps, to=st.none() | st.lists(st.sampled_from(NAMES)), topic=st.none() | st.sampled_from(TOPICS)
)
def test_a_message_goes_to_each_connection_once_whichever_pattern_matches(
    steps: list[tuple[int, str, Sequence[str] | None]], to: list[str] | None, topic: str | None
) -> None:
    table: ConnectionTable[int] = ConnectionTable()
    model: dict[int, tuple[str, Sequence[str]]] = {}
    for key, name, patterns in steps:
        if patterns is None:
            table.remove(key)
            model.pop(key, None)
        else:
            known = model[key][0] if key in model else name
            table.put(key, known, patterns)
            model[key] = known, patterns
    expected = [
        key
        for key, (name, patterns) in model.items()
        if (to is None or name in to)
        and (topic is None or any(matches(pattern, topic) for pattern in patterns))
    ]
    assert table.count(to, topic) == len(expected)
    assert (len(table), table.clients) == (len(model), len({name for name, _ in model.values()}))
    assert {name: set(table.of(name)) for name in NAMES} == {
        name: {key for key, (of, _) in model.items() if of == name} for name in NAMES
    }


def test_the_connections_of_a_client_are_in_the_order_in_which_they_came() -> None:
    table: ConnectionTable[int] = ConnectionTable()
    for key in (5, 3, 8):
        table.put(key, "bob")
    table.put(1, "bob", oldest=True)
    table.put(3, "bob", ["a"])
    assert table.of("bob") == (1, 5, 3, 8)
    assert table.remove(5) == ("bob", ())
    assert (table.of("bob"), table.of("eve"), table.remove(5)) == ((1, 3, 8), (), None)
