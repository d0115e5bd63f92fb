"""Whose end is more than its own."""

import pytest

from wsctl.lifecycle.container import INITS, bound_to_us


def test_process_1_is_the_container() -> None:
    assert "process 1" in (bound_to_us(1, 0) or "")


@pytest.mark.parametrize("name", sorted(INITS))
def test_the_child_of_an_init_that_ends_with_it_is_the_container_too(name: str) -> None:
    assert name in (bound_to_us(7, 1, lambda: name) or "")


@pytest.mark.parametrize(("parent", "first"), [(1, "systemd"), (1, "launchd"), (1, ""), (6, "tini")])
def test_any_other_process_may_end(parent: int, first: str) -> None:
    assert bound_to_us(7, parent, lambda: first) is None


def test_this_one_may() -> None:
    assert bound_to_us() is None
