"""What a server's frames hold."""

import pytest

from wsctl.client.frames import decoded


def test_an_object_is_read_from_text_and_from_bytes() -> None:
    assert decoded('{"type":"message","data":"é"}') == {"type": "message", "data": "é"}
    assert decoded('{"type":"message","data":"é"}'.encode()) == {"type": "message", "data": "é"}


@pytest.mark.parametrize("nonsense", ["hello", "[1]", "null", "[" * 100_000, b"\xff\x00", ""])
def test_anything_else_is_none(nonsense: str | bytes) -> None:
    assert decoded(nonsense) is None


def test_the_same_frame_is_read_once() -> None:
    text = '{"type":"heartbeat"}'
    assert decoded(text) is decoded("".join(text))
