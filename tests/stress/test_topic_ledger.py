"""Who should have received which topic, and who did."""

from hypothesis import given
from hypothesis import strategies as st

from wsctl.stress.topic_ledger import Stripes, TopicLedger
from wsctl.stress.topic_plan import TopicPlan

SUBSCRIBERS: list[set[int]] = [{0, 1}, {1}, {0, 1, 2}]
"""Of three topics, among three clients."""

CLIENT = st.integers(0, 2)

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("send"), CLIENT, st.just(0)),
        st.tuples(st.just("receive"), CLIENT, st.integers(0, 12)),
        st.tuples(st.just("acknowledge"), CLIENT, st.integers(0, 12)),
        st.tuples(st.just("reject"), CLIENT, st.integers(0, 12)),
        st.tuples(st.just("disconnect"), CLIENT, st.just(0)),
    ),
    max_size=60,
)


def id_of(number: int) -> tuple[int, ...]:
    return (number // 4, number % 4)


@given(st.lists(st.integers(0, 40), max_size=60), st.integers(1, 5), st.integers(0, 45))
def test_stripes_are_a_set(numbers: list[int], count: int, limit: int) -> None:
    stripes, model = Stripes(count), set[int]()
    for number in numbers:
        assert stripes.add(number) == (number not in model)
        model.add(number)
        assert stripes.end == max(model) + 1
    assert [n in stripes for n in range(45)] == [n in model for n in range(45)]
    assert stripes.below(limit) == sum(n < limit for n in model)


@given(STEPS, st.integers(0, 20))
def test_it_agrees_with_an_account_of_everything(steps: list[tuple[str, int, int]], limit: int) -> None:
    ledger = TopicLedger(3, SUBSCRIBERS)
    senders: list[int] = []
    owed: list[bool] = []
    known: set[int] = set()
    received: list[list[int]] = [[], [], []]
    duplicated = stray = 0
    for what, client, number in steps:
        if what == "send":
            assert ledger.send(client) == len(senders)
            senders.append(client)
            owed.append(True)
        elif what == "disconnect":
            ledger.disconnect(client)
            owed = [still and senders[n] != client for n, still in enumerate(owed)]
        elif number >= len(senders):
            continue
        elif what == "acknowledge":
            ledger.acknowledge(number)
            known.add(number)
        elif what == "reject":
            ledger.reject(number)
            owed[number] = False
        else:
            ledger.receive(client, number, id_of(number))
            if client not in SUBSCRIBERS[number % 3]:
                stray += 1
            elif number in received[client]:
                duplicated += 1
            else:
                received[client].append(number)
                known.add(number)
    due = [n for n, still in enumerate(owed) if still or n in known]
    missed = [n for n in due for client in SUBSCRIBERS[n % 3] if n not in received[client]]
    assert (ledger.missed, ledger.missed_below(limit)) == (len(missed), sum(n < limit for n in missed))
    assert ledger.unconfirmed == len(senders) - len(due)
    assert (ledger.duplicated, ledger.not_subscribed) == (duplicated, stray)
    assert ledger.out_of_order == sum(
        n < max(got[:at], default=-1) for got in received for at, n in enumerate(got)
    )


def test_clients_that_read_at_their_own_speed_are_in_order() -> None:
    """Who has other topics than somebody else says nothing about the order of both."""
    ledger = TopicLedger(3, [{0, 2}, {1, 2}])
    for _ in range(2):
        ledger.send(0)
    assert ledger.receive(1, 1, (1, 1))
    assert ledger.receive(0, 0, (1, 0))
    assert ledger.receive(2, 0, (1, 0))
    assert ledger.receive(2, 1, (1, 1))
    assert (ledger.out_of_order, ledger.missed, ledger.expected) == (0, 0, 4)


def test_one_of_another_sender_that_has_an_older_id_is_out_of_order() -> None:
    ledger = TopicLedger(1, [{0}])
    ledger.send(0)
    ledger.send(0)
    ledger.receive(0, 0, (9, 0))
    ledger.receive(0, 1, (8, 0))
    assert ledger.out_of_order == 1


def test_every_topic_of_a_plan_has_the_subscribers_that_its_patterns_say() -> None:
    for count, clients in ((1, 1), (2, 2), (3, 25), (50, 300)):
        plan = TopicPlan(count)
        found = plan.subscribers(clients)
        assert len(found) == count
        assert all(found)
        for topic, subscribers in enumerate(found):
            name = plan.name(topic)
            wanted = {c for c in range(clients) if {name, "stress.*"} & set(plan.patterns(c))}
            assert subscribers == wanted
    assert TopicPlan(3).name(4) == "stress.2"
    assert TopicPlan(1).patterns(0) == ("stress.1",)
