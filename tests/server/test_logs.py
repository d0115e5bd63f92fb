"""One line an event, whatever is in it."""

import io
import json
import logging
import os
import re
import sys
import unicodedata
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support.sizes import examples
from wsctl.codes import CloseCode
from wsctl.drain.phases import Phase
from wsctl.server.logs import (
    LOGGERS,
    JsonFormatter,
    SecretsFilter,
    TextFormatter,
    configure,
    filter_secrets,
    formatter,
    stream_handler,
)

TEXT = TextFormatter(person=False, colour=False)

NASTY = st.text(
    alphabet=st.sampled_from("\n\r\t\x00\x1b\x07\x7f\x85\u2028\u2029\u200b\u202e\ufeff\ud800 \"='\\{}[]é𝄞ab"),
    max_size=12,
)
VALUES = (
    NASTY
    | st.integers()
    | st.none()
    | st.lists(NASTY, max_size=2)
    | st.dictionaries(NASTY, NASTY, max_size=2)
)


def _record(event: str, exc_info: Any = None, **fields: object) -> logging.LogRecord:
    record = logging.LogRecord("wsctl.test", logging.INFO, "", 0, "%s", (event,), exc_info)
    record.created = 0.25
    record.fields = fields
    return record


def _is_one_plain_line(line: str) -> bool:
    return len(line.splitlines()) == 1 and not [c for c in line if unicodedata.category(c)[0] == "C"]


@examples(250)
@example("x", "\u2028")
@example("a\x1b[2Jb", {"a": "\n"})
@given(NASTY.filter(bool), VALUES)
def test_nothing_in_an_event_or_a_field_makes_a_second_line_or_moves_the_cursor(
    event: str, value: object
) -> None:
    record = _record(event, value=value, other=1)
    for style in (TEXT, TextFormatter(person=True, colour=False), JsonFormatter()):
        line = style.format(record)
        assert _is_one_plain_line(line), repr(line)
        line.encode()
    parsed = json.loads(JsonFormatter().format(record))
    assert (parsed["event"], parsed["value"], parsed["other"]) == (event, value, 1)


@examples(100)
@example("a=b")
@given(NASTY)
def test_a_value_cannot_pass_for_another_field(value: str) -> None:
    line = TEXT.format(_record("event", client_id=value))
    found = re.fullmatch(r'\S+ INFO event client_id=("(?:[^"\\]|\\.)*"|[^ "=]+)', line)
    assert found, line
    word = found[1]
    assert (json.loads(word) if word.startswith('"') else word) == value


@examples(60)
@given(NASTY)
def test_the_text_of_an_exception_cannot_forge_a_line(text: str) -> None:
    try:
        raise ValueError(text + "\n2026-01-01T00:00:00.000Z INFO forged")
    except ValueError:
        record = _record("failed", sys.exc_info())
    first, *rest = TEXT.format(record).split("\n")
    assert first.endswith("INFO failed")
    assert all(line.startswith("  ") and _is_one_plain_line(line) for line in rest)
    assert "ValueError" in rest[-2] + rest[-1] + TEXT.format(record)
    parsed = json.loads(JsonFormatter().format(record))
    assert "forged" in parsed["exception"]
    assert "\n" not in JsonFormatter().format(record)


def test_the_traceback_of_another_process_is_below_its_line_and_forges_none() -> None:
    record = _record("not reloaded", files="main.py")
    record.details = "Traceback:\nValueError: \x1b[2J"
    assert TEXT.format(record).splitlines()[1:] == ["  Traceback:", r"  ValueError: \x1b[2J"]
    assert json.loads(JsonFormatter().format(record))["exception"] == record.details
    assert "\n" not in JsonFormatter().format(record)


def test_a_line_for_a_file_has_the_date_and_the_zone() -> None:
    line = TEXT.format(_record("connected", client_id="bob", address="[::1]:5", n=3, phase=Phase.SERVING))
    assert line == "1970-01-01T00:00:00.250Z INFO connected client_id=bob address=[::1]:5 n=3 phase=serving"


def test_values_with_spaces_or_nothing_in_them_are_quoted() -> None:
    line = TEXT.format(_record("e", a="two words", b="", c='say "x"', d="é", code=CloseCode.REPLACED))
    assert line.partition("INFO ")[2] == r'e a="two words" b="" c="say \"x\"" d=é code=4501'


def test_a_person_sees_the_time_and_colours_only_where_wanted() -> None:
    line = TextFormatter(person=True, colour=True).format(_record("e"))
    assert re.fullmatch(r"\d\d:\d\d:\d\d \x1b\[32mINFO\x1b\[0m e", line)
    assert "\x1b" not in TextFormatter(person=True, colour=False).format(_record("e"))


def test_a_json_line_has_the_fields_beside_what_every_line_has() -> None:
    assert json.loads(JsonFormatter().format(_record("connected", client_id="bob"))) == {
        "ts": "1970-01-01T00:00:00.250Z",
        "level": "info",
        "logger": "wsctl.test",
        "event": "connected",
        "client_id": "bob",
    }


def test_the_style_follows_the_setting_and_the_terminal() -> None:
    assert isinstance(formatter("json", terminal=True, colour=True), JsonFormatter)
    for style in ("auto", "text"):
        line = formatter(style, terminal=False, colour=False).format(_record("e"))
        assert line.startswith("1970-01-01T")
        assert not formatter(style, terminal=True, colour=False).format(_record("e")).startswith("1970")


@pytest.fixture
def untouched_loggers() -> Iterator[None]:
    """The loggers that `configure` changes, put back afterwards."""
    loggers = [logging.getLogger(name) for name in LOGGERS]
    before = [(logger.handlers, logger.propagate, logger.level) for logger in loggers]
    yield
    for logger, (handlers, propagate, level) in zip(loggers, before, strict=True):
        logger.handlers, logger.propagate = handlers, propagate
        logger.setLevel(level)


@pytest.mark.usefixtures("untouched_loggers")
def test_our_log_goes_to_the_stream_and_of_uvicorn_s_what_it_warns_of() -> None:
    stream = io.StringIO()
    configure(stream_handler(stream, "text", colour=False), "info", access=False)
    logging.getLogger("wsctl.hub").info("ours")
    logging.getLogger("wsctl.hub").debug("too fine")
    logging.getLogger("uvicorn.error").info("chatter")
    logging.getLogger("uvicorn.error").warning("a warning")
    logging.getLogger("uvicorn.access").info("GET /")
    assert [line.split(" ", 2)[2] for line in stream.getvalue().splitlines()] == ["ours", "a warning"]


@pytest.mark.usefixtures("untouched_loggers")
@pytest.mark.parametrize(("level", "lines"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)])
def test_the_level_and_the_access_log_are_as_asked(level: str, lines: int) -> None:
    stream = io.StringIO()
    configure(stream_handler(stream, "json", colour=False), level, access=True)
    logging.getLogger("wsctl").debug("1")
    logging.getLogger("uvicorn.access").info("2")
    logging.getLogger("wsctl").warning("3")
    logging.getLogger("uvicorn.error").error("4")
    assert len([json.loads(line) for line in stream.getvalue().splitlines()]) == lines


SECRET = "s3cr+t/of=it"

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJib2IifQ.AAAA"


@pytest.mark.parametrize(
    ("args", "kept"),
    [
        (("127.0.0.1:5", "GET", f"/ws/bob?access_token={SECRET}&since=1-0", "1.1", 401), "&since=1-0"),
        (("127.0.0.1:5", f"/ws/bob?x=1&ACCESS_TOKEN={SECRET}"), "/ws/bob?x=1&"),
        (("authorization", f"Bearer {SECRET}"), "authorization"),
        (("sec-websocket-protocol", "wsctl, bearer.czNjcmV0, chat"), "wsctl, bearer.***"),
        (({"headers": [(b"authorization", f"bearer {SECRET}".encode())]},), "headers"),
        ((f'TEXT {{"type": "renew", "token": "{SECRET}"}} [50 bytes]',), "renew"),
        ((f"TEXT {JWT}",), "TEXT ***"),
    ],
)
def test_what_lets_a_client_in_is_blotted_out(args: tuple[Any, ...], kept: str) -> None:
    record = logging.LogRecord("uvicorn", logging.INFO, "", 0, " ".join(["%s"] * len(args)), args, None)
    assert SecretsFilter().filter(record)
    told = record.getMessage()
    assert kept in told
    assert "***" in told
    assert not [secret for secret in (SECRET, "czNjcmV0", JWT, JWT[-20:]) if secret in told]


def test_what_is_no_secret_stays_what_it_is() -> None:
    args = ("127.0.0.1:5", "GET", "/ws/bob?since=1-0", "1.1", 401)
    record = logging.LogRecord("uvicorn", logging.INFO, "", 0, "%s %s %s %s %d", args, None)
    assert SecretsFilter().filter(record)
    assert record.args == args


@pytest.mark.parametrize(
    ("joined", "shown"),
    [
        ("2001:db8::1:443", "[2001:db8::1]:443"),
        ("::1:5", "[::1]:5"),
        ("fe80::1%eth0:5", "[fe80::1%eth0]:5"),
        ("2001:db8::1:0", "2001:db8::1"),
        ("127.0.0.1:5", "127.0.0.1:5"),
    ],
)
def test_of_version_6_an_address_that_uvicorn_logs_stands_in_brackets(joined: str, shown: str) -> None:
    args = (joined, "GET", "/ws/::1:5?since=1:2:3", "1.1", 401)
    record = logging.LogRecord("uvicorn.access", logging.INFO, "", 0, '%s - "%s %s HTTP/%s" %d', args, None)
    assert SecretsFilter().filter(record)
    assert record.args == (shown, *args[1:])


def test_secrets_are_kept_however_often_that_is_asked_for() -> None:
    filter_secrets()
    filter_secrets()
    assert len([f for f in logging.getLogger("uvicorn.access").filters if isinstance(f, SecretsFilter)]) == 1


def test_a_log_whose_reader_is_gone_fails_nothing_and_writes_nowhere(
    capfd: pytest.CaptureFixture[str],
) -> None:
    read, write = os.pipe()
    with open(write, "w") as stream:
        handler = stream_handler(stream, "text", colour=False)
        os.close(read)
        for _ in range(3):
            handler.handle(logging.makeLogRecord({"msg": "nobody reads this"}))
        stream.write("nor this")
        stream.flush()
        assert os.fstat(write).st_rdev == os.stat(os.devnull).st_rdev
    assert capfd.readouterr().err == ""
