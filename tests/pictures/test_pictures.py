"""The pictures are of terminals: what was on them is in the SVG, in the order in which it came."""

import time
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.pictures.__main__ import FOLDER, PICTURES, require
from tests.pictures.recording import recorded
from tests.pictures.svg import svg
from tests.support.terminal import Terminal

README = Path(__file__).parents[2] / "README.md"
SVG = "{http://www.w3.org/2000/svg}"


def test_each_frame_of_a_terminal_is_in_the_picture() -> None:
    terminal = Terminal(
        ["sh", "-c", "echo 'a <b>'; read x; printf '\\033[32mgreen\\033[0m & done'"], {}, 30, 5
    )
    try:
        with recorded(terminal, "one", time.monotonic()) as recording:
            while not any(frame.lines[0] for frame in recording.frames):
                time.sleep(0.01)
            terminal.type("\n")
            while not any(frame.lines[2] for frame in recording.frames):
                time.sleep(0.01)
    finally:
        terminal.close()
    assert [frame.at for frame in recording.frames] == sorted({frame.at for frame in recording.frames})
    picture = ElementTree.fromstring(svg([recording], 30, "what is seen"))
    texts = {"".join(text.itertext()): text for text in picture.iter(f"{SVG}text")}
    assert {"one", "a <b>", "green & done"} <= texts.keys()
    spans = texts["green & done"].findall(f"{SVG}tspan")
    assert [(span.text, span.get("fill") == spans[0].get("fill")) for span in spans] == [
        ("green", True),
        (" & done", False),
    ]
    film = picture.find(f".//{SVG}g[@id='film0']")
    assert film is not None
    last = texts["green & done"].get("id")
    assert film.findall(f"{SVG}use")[-1].get("href") == f"#{last}"


def test_readme_shows_each_picture_that_can_be_recorded() -> None:
    text = README.read_text()
    assert {path.stem for path in FOLDER.glob("*.svg")} == PICTURES.keys()
    assert all(f"tests/pictures/{name}.svg" in text for name in PICTURES)


def test_a_recording_that_does_not_show_what_readme_says_is_refused() -> None:
    upgraded = "$ wsctl upgrade\nupgraded: moved 9, draining 0"
    require(f"{upgraded}\n{upgraded}", ["moved 9, draining 0"] * 2)
    with pytest.raises(SystemExit, match="lacks 'moved 9, draining 0'"):
        require(upgraded, ["moved 9, draining 0"] * 2)
    with pytest.raises(SystemExit, match="has 'were sent, not'"):
        require("missed  0\n98 messages were sent, not the 241", ["missed 0"], unless="were sent, not")
