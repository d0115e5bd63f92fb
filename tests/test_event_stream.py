"""Frames as events of a stream, read back by the rules of the HTML standard."""

import json
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from tests.support.event_streams import Event, dechunked, read_events
from wsctl import messages
from wsctl.codes import CloseCode
from wsctl.event_stream import COMMENT, FINAL, LAST_CHUNK, chunk, closing, event, retry
from wsctl.frame import Batch, Encoding

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
IDS = st.from_regex(r"[0-9a-f]{4}-[0-9]{1,9}", fullmatch=True)


TOPICS = st.from_regex(r"[A-Za-z0-9_-]{1,9}(\.[A-Za-z0-9_-]{1,9}){0,3}", fullmatch=True)


@given(IDS, st.text(), JSON, st.none() | TOPICS)
@example("a-1", "bob", "a\r\nb\rc\nd\u2028e\x00", None)
@example("a-1", "bob", "\ud800", None)
def test_any_message_is_one_event_with_its_id_and_its_json(
    message_id: str, sender: str, data: Any, topic: str | None
) -> None:
    payload = messages.message(messages.Message(message_id, 1.5, sender, data, topic=topic))
    (read,) = read_events(event(payload)).events
    assert (read.type, read.last_id) == ("message", message_id)
    assert read.data.encode() == payload
    assert json.loads(read.data) == json.loads(payload)


def test_a_fresh_welcome_has_the_newest_id_and_one_of_a_client_that_comes_back_has_none() -> None:
    fresh = messages.welcome("bob", "a-7", "1", "serving", None, connections=1)
    back = messages.welcome("bob", "a-7", "1", "serving", True, connections=1)
    assert [e.last_id for e in read_events(event(fresh) + event(back)).events] == ["a-7", "a-7"]
    assert [e.last_id for e in read_events(event(back)).events] == [""]
    assert [e.type for e in read_events(event(fresh)).events] == ["welcome"]


def test_other_frames_keep_the_id_of_the_message_before() -> None:
    others = [
        messages.shutdown(3.0, "restart", 1.0),
        messages.error("full", "no room"),
        messages.heartbeat(1.0, 2, 3),
        messages.joined("news", "bob"),
    ]
    message = messages.message(messages.Message("a-1", 1.0, "bob", "x"))
    read = read_events(b"".join(map(event, [message, *others]))).events
    assert [e.type for e in read] == ["message", "shutdown", "error", "heartbeat", "joined"]
    assert {e.last_id for e in read} == {"a-1"}
    assert [e.data.encode() for e in read[1:]] == others


def test_a_sign_of_life_is_a_comment_that_nobody_sees() -> None:
    assert event(messages.keepalive()) == COMMENT
    assert read_events(COMMENT).events == []


def test_the_time_to_connect_again_is_a_field_of_the_event_behind_it() -> None:
    welcome = event(messages.welcome("bob", "a-7", "1", "serving", None, connections=1))
    read = read_events(retry(1500) + welcome)
    assert ([e.type for e in read.events], read.retry, read.rest) == (["welcome"], 1500, "")


def test_the_end_tells_code_and_reason_and_when_to_come_back() -> None:
    read = read_events(closing(CloseCode.SERVICE_RESTART, "a\nb", 700))
    assert read.retry == 700
    assert read.events == [Event("close", '{"type":"close","code":1012,"reason":"a\\nb"}', "")]


def test_a_client_that_shall_stay_away_is_given_an_id_that_says_so() -> None:
    assert read_events(closing(CloseCode.REPLACED, "", 1)).events[0].last_id == FINAL
    # With new credentials it resumes: without them it gets a 401, behind which a browser gives up too.
    assert read_events(closing(CloseCode.CREDENTIALS_EXPIRED, "", 1)).events[0].last_id == ""


@given(st.lists(st.binary(min_size=1), max_size=5))
def test_chunks_are_a_body_that_ends_with_the_last_one(parts: list[bytes]) -> None:
    body, rest = dechunked(b"".join(map(chunk, parts)) + LAST_CHUNK)
    assert (body, rest) == (b"".join(parts), b"")


@given(st.lists(JSON, min_size=1, max_size=4), st.booleans())
def test_a_batch_is_one_chunk_of_its_events_behind_its_lead(data: list[Any], joined: bool) -> None:
    payloads = [messages.message(messages.Message(f"a-{n}", 1.0, "bob", each)) for n, each in enumerate(data)]
    batch = Batch.joined([Batch((each,)) for each in payloads]) if joined else Batch(payloads, lead=b"head")
    lead = b"" if joined else b"head"
    chunked, bare = batch.encoded(Encoding.EVENTS), batch.encoded(Encoding.EVENTS_WITHOUT_CHUNKS)
    assert bare == lead + b"".join(map(event, payloads))
    assert chunked == lead + chunk(bare[len(lead) :])
    assert batch.encoded(Encoding.EVENTS) is chunked


def test_events_are_made_once_for_all_streams_of_a_kind() -> None:
    batch = Batch((messages.heartbeat(1.0, 2, 3),))
    for encoding in (Encoding.EVENTS, Encoding.EVENTS_WITHOUT_CHUNKS):
        assert batch.encoded(encoding) is batch.encoded(encoding)
