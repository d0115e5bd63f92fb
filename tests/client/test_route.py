"""Which of several servers a client goes to."""

from wsctl.client.route import Route
from wsctl.client.target import Target

A, B, C = (Target(f"http://{name}") for name in "abc")


def test_the_only_server_is_tried_again_and_again_with_pauses() -> None:
    route = Route(A)
    assert [(route.turned_away(), route.target) for _ in range(3)] == [(False, A)] * 3


def test_who_is_turned_away_tries_each_of_the_others_before_it_waits() -> None:
    route = Route(A, (B, C))
    assert route.target == A
    tried = [(route.turned_away(), route.target) for _ in range(4)]
    assert tried == [(True, B), (True, C), (False, A), (True, B)]


def test_behind_each_connection_the_own_server_is_first_again() -> None:
    route = Route(A, (B, C))
    route.turned_away()
    assert route.target == B
    route.ended()
    assert route.target == A
