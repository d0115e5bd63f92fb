"""Lines of a standard input."""

import asyncio
import os
from pathlib import Path

import pytest

from tests.support.server import DEADLINE
from wsctl.cli.ui.streams import AHEAD, read_lines

pytestmark = pytest.mark.anyio


async def read(fd: int) -> list[str]:
    async with asyncio.timeout(DEADLINE):
        return [line async for line in read_lines(fd)]


def piped(data: bytes) -> int:
    reading, writing = os.pipe()
    os.write(writing, data)
    os.close(writing)
    return reading


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", []),
        (b"a\nb\n", ["a", "b"]),
        (b"a\r\n\n b ", ["a", "", " b "]),
        ("grüße\n".encode(), ["grüße"]),
        (b"\xff\n", ["\ufffd"]),
    ],
)
async def test_lines_come_without_their_ends(data: bytes, expected: list[str]) -> None:
    fd = piped(data)
    assert await read(fd) == expected
    os.close(fd)


async def test_a_line_comes_before_the_next_one_is_written() -> None:
    reading, writing = os.pipe()
    arriving = read_lines(reading)
    async with asyncio.timeout(DEADLINE):
        for text in ("a", "b"):
            os.write(writing, f"{text}\n".encode())
            assert await anext(arriving) == text
        os.close(writing)
        assert await anext(arriving, None) is None
    os.close(reading)


async def test_a_file_and_the_null_device_are_read_too(tmp_path: Path) -> None:
    count = 3 * AHEAD
    (tmp_path / "f").write_text("x\n" * count)
    for path, expected in ((tmp_path / "f", count), (Path(os.devnull), 0)):
        fd = os.open(path, os.O_RDONLY)
        assert len(await read(fd)) == expected
        os.close(fd)


async def test_a_closed_descriptor_is_an_empty_input() -> None:
    fd = piped(b"")
    os.close(fd)
    assert await read(fd) == []
