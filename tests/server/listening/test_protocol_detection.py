"""The short way in agrees with the long one."""

import h11
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support.raw import handshake
from wsctl.server.listening.http_protocol import MAX_HEAD
from wsctl.server.listening.protocol_detection import asks_for_websocket, plain_request

TOKEN = st.text("abcXYZ019-_!#$%&'*+.^`|~", min_size=1, max_size=8)
VALUE = st.text(st.characters(codec="latin-1"), max_size=20)
LINES = st.lists(st.tuples(TOKEN, st.sampled_from([":", ": ", ":\t ", " :"]), VALUE), max_size=6)


def test_a_usual_handshake_is_read() -> None:
    found = plain_request(handshake("/ws/bob?since=1-0", "Origin: https://example.org"))
    assert found
    assert asks_for_websocket(found)
    assert (found.path, found.query) == ("/ws/bob", "since=1-0")
    assert found.headers["origin"] == "https://example.org"
    assert found.headers["sec-websocket-version"] == "13"


@given(LINES, st.sampled_from(["/ws/a", "/ws/%41?x=1", "/ws/a b", "*", "/ws/\xe9"]))
@example([("Host", ": ", "second")], "/ws/a")
@example([("X", ": ", "a\r\n b")], "/ws/a")
def test_whatever_it_reads_h11_reads_the_same(lines: list[tuple[str, str, str]], path: str) -> None:
    more = "".join(f"{name}{colon}{value}\r\n" for name, colon, value in lines)
    data = handshake(path)[:-2] + more.encode("latin-1") + b"\r\n"
    found = plain_request(data)
    if found is None:
        return
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(data)
    request = connection.next_event()
    assert isinstance(request, h11.Request)
    assert connection.trailing_data[0] == b""
    theirs = {name.decode("latin-1"): value.decode("latin-1") for name, value in request.headers}
    assert theirs == found.headers
    assert request.target.decode() == found.path + ("?" + found.query if found.query else "")


def test_anything_unusual_is_left_to_the_long_way() -> None:
    usual = handshake("/ws/bob")
    for unusual in (
        usual[:-1],
        usual + b"x",
        usual.replace(b"GET", b"get"),
        usual.replace(b"HTTP/1.1", b"HTTP/1.0"),
        usual.replace(b"\r\n", b"\n"),
        handshake("/ws/bob", "Host:"),
        usual[:-2] + b"Host: again\r\n\r\n",
        usual[:-2] + b"X:\x00\r\n\r\n",
        handshake("/ws/bob", "X: " + "a" * MAX_HEAD),
        handshake("/ws/bob", *(f"X-{n}: 1" for n in range(96))),
    ):
        assert plain_request(unusual) is None, unusual[:200]


def test_another_request_is_no_handshake() -> None:
    for other in (
        handshake("/ws/bob", "Upgrade: h2c"),
        handshake("/ws/bob", "Connection: keep-alive"),
        b"GET /events/bob HTTP/1.1\r\nHost: here\r\n\r\n",
    ):
        found = plain_request(other)
        assert found
        assert not asks_for_websocket(found)


def test_a_hostile_head_takes_no_time_to_turn_down() -> None:
    # Two seconds would be a regular expression that backtracks; a linear one takes a millisecond.
    for filling in (b" " * 16_000, b" a" * 8_000, b"a: " * 5_000, b"a:b\r\n" * 3_000):
        assert plain_request(handshake("/ws/bob")[:-2] + b"X:" + filling) is None
