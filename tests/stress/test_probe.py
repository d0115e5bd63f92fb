"""The text of a stress message."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsctl.stress.probe import Probe, probe_text, read_probe


@given(st.integers(0), st.integers(0, 10**12), st.integers(0, 300))
def test_what_was_written_is_read(number: int, micros: int, size: int) -> None:
    text = probe_text("run", Probe(number, micros / 1e6), size)
    assert read_probe("run", text) == Probe(number, pytest.approx(micros / 1e6, abs=1e-6))
    assert text.isascii()
    assert len(text) >= size


def test_the_size_is_in_bytes() -> None:
    assert len(probe_text("run", Probe(7, 1.5), 128)) == 128


@pytest.mark.parametrize("text", ["", "other 7 1.5 xx", "run", "run 7", "run x y z", 7, None, {"run": 1}])
def test_what_is_not_of_this_run_is_not_read(text: object) -> None:
    assert read_probe("run", text) is None
