"""Recordings as one SVG that moves, without a script: GitHub and every browser show it in an <img>."""

from collections.abc import Iterator, Sequence
from html import escape

from tests.pictures.recording import Frame, Line, Recording

CELL, ROW, SIZE = 8.4, 19, 14
"""Pixels: the width of a column, the height of a row and the size of the letters."""

MARGIN, HEADING = 14, 24
PAUSE = 4.0
"""Seconds that the last frame stays before the recording begins anew."""

PAPER, INK, FAINT = "#0d1117", "#e6edf3", "#8b949e"
FONT = "ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace"
COLOURS = {
    "default": INK,
    "bold": "#ffffff",
    "black": FAINT,
    "brightblack": FAINT,
    "red": "#ff7b72",
    "green": "#3fb950",
    "brown": "#d29922",
    "blue": "#58a6ff",
    "magenta": "#bc8cff",
    "cyan": "#39c5cf",
}
"""By pyte's names; of any other it gives the six digits."""


def svg(recordings: Sequence[Recording], columns: int, described: str) -> str:
    """Draw terminals below each other. Who asks for less motion sees the last frame.

    Args:
        recordings: Each with at least one frame; all counted from one moment.
        columns: Of the widest.
        described: What is to be seen, for people who do not see it.
    """
    seconds = max(recording.frames[-1].at for recording in recordings) + PAUSE
    width = round(columns * CELL + 2 * MARGIN)
    lines: dict[Line, str] = {}
    styles, panes, top = [], [], 0
    for number, recording in enumerate(recordings):
        rows = max(_height(frame) for frame in recording.frames)
        styles.append(_film(f"film{number}", recording.frames, rows * ROW, seconds))
        panes += [
            f'<g transform="translate(0 {top})">',
            *_pane(f"film{number}", recording, rows, lines),
            "</g>",
        ]
        top += HEADING + rows * ROW + MARGIN
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {top}" role="img">',
            f"<title>{escape(described)}</title>",
            "<style>",
            f"text {{ font: {SIZE}px {FONT}; white-space: pre }}",
            *styles,
            "</style>",
            "<defs>",
            *(_text(line, name) for line, name in lines.items()),
            "</defs>",
            f'<rect width="{width}" height="{top}" rx="8" fill="{PAPER}"/>',
            *panes,
            "</svg>\n",
        ]
    )


def _film(name: str, frames: Sequence[Frame], height: int, seconds: float) -> str:
    """Move a film of all frames, one below the other, past its window: one step a frame."""
    moved = [f"{{ transform: translateY({-place * height}px) }}" for place in range(len(frames))]
    starts = [0.0, *(100 * frame.at / seconds for frame in frames[1:])]
    steps = [f"{start:.2f}% {step}" for start, step in zip(starts, moved, strict=True)]
    return (
        f"@keyframes {name} {{ {' '.join(steps)} 100% {moved[-1]} }}\n"
        f"#{name} {{ animation: {name} {seconds:.1f}s step-end infinite }}\n"
        f"@media (prefers-reduced-motion) {{ #{name} {{ animation: none }} #{name} {moved[-1]} }}"
    )


def _pane(name: str, recording: Recording, rows: int, lines: dict[Line, str]) -> Iterator[str]:
    """Draw one terminal, without its place. A line that was there before is used again."""
    yield f'<text x="{MARGIN}" y="{HEADING - 6}" fill="{FAINT}">{escape(recording.title)}</text>'
    yield f'<svg x="{MARGIN}" y="{HEADING}" height="{rows * ROW}"><g id="{name}">'
    for place, frame in enumerate(recording.frames):
        for row, line in enumerate(frame.lines[:rows]):
            if line:
                used = lines.setdefault(line, f"l{len(lines)}")
                yield f'<use href="#{used}" y="{(place * rows + row) * ROW + SIZE}"/>'
    yield "</g></svg>"


def _text(line: Line, name: str) -> str:
    spans, column = [], 0
    for text, colour in line:
        if text.strip():
            place = f'x="{column * CELL:.1f}" textLength="{len(text) * CELL:.1f}"'
            spans.append(f'<tspan {place} fill="{COLOURS.get(colour, f"#{colour}")}">{escape(text)}</tspan>')
        column += len(text)
    return f'<text id="{name}">{"".join(spans)}</text>'


def _height(frame: Frame) -> int:
    """Rows down to the last one with text."""
    return max((row + 1 for row, line in enumerate(frame.lines) if line), default=1)
