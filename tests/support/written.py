"""Settings of every kind, and how the languages of generated files read a word back."""

import re
from typing import Any

from hypothesis import strategies as st

from wsctl.settings import EVERY_TOPIC, Rate, Settings

WORDS = st.text(
    st.characters(
        codec="utf-8", exclude_categories=("Cc", "Cs", "Zl", "Zp"), exclude_characters="\ufeff\ufffe\uffff"
    ),
    min_size=1,
    max_size=12,
)
"""Anything that can be written into a file of settings."""

ODD = (
    "a b",
    "50%",
    "%i",
    "$HOME",
    "${X}",
    "$$",
    "$(X)",
    'say "x"',
    "it's",
    "back\\slash",
    "\\",
    "#",
    ";",
    "{}",
    "é—\u200d",
)
"""What one of the languages reads otherwise when it stands there unquoted."""

_SECONDS = st.floats(0, 1e9) | st.integers(0, 9999).map(float)


def any_settings(**given: Any) -> st.SearchStrategy[Settings]:
    """Settings that could be meant for a file: with a port, and with a place to listen."""
    numbers = {
        "drain_delay": _SECONDS,
        "shutdown_timeout": _SECONDS,
        "ping_interval": _SECONDS,
        "history": st.integers(0, 10**9),
        "max_connections": st.none() | st.integers(0, 10**6),
        "port": st.integers(1, 65535),
        "rate": st.builds(
            Rate, st.floats(0, 999_999, width=32).map(lambda x: round(x, 3)), st.integers(1, 999)
        ),
    }
    switches = {name: st.booleans() for name in ("client_direct", "access_log", "proxy_headers")}
    texts = {
        "root_path": st.just("") | WORDS.map(lambda word: f"/{word}".rstrip("/")),
        "forwarded_allow_ips": st.none() | st.sampled_from(["*", "10.0.0.1", "::1,10.0.0.0/8"]),
        "host": WORDS.filter(lambda word: word.isprintable() and not re.search(r"\s", word))
        | st.sampled_from(["127.0.0.1", "::", "localhost"]),
        "allow_origin": st.sampled_from([(), ("*",), ("https://a.example", "https://b.example")]),
        "client_publish": st.sampled_from([(), EVERY_TOPIC, ("chat.*", "orders.>")]),
        "allow_host": st.sampled_from([(), ("*",), ("chat.example", "xn--bcher-kva.example")]),
        "ssl_certfile": st.none() | WORDS | st.sampled_from(ODD),
    }
    return st.builds(Settings, **(numbers | switches | texts | given))


def unit_words(line: str) -> list[str]:
    """The words of a command line in a unit: systemd.syntax(7) for quotes, specifiers and $ undone."""
    return [word.replace("%%", "%").replace("$$", "$") for word in quoted_words(line)]


def quoted_words(line: str) -> list[str]:
    """Words of which some are in double quotes, where a backslash takes the next character as it is."""
    found = re.findall(r'"((?:[^"\\]|\\.)*)"(?=\s|;|$)|([^\s"]+)', line)
    return [plain or re.sub(r"\\(.)", r"\1", quoted) for quoted, plain in found]
