"""What a client id may look like, and how frames are spelled."""

import json
import time
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsctl import messages
from wsctl.messages import InvalidClientId, Message, client_id

CONTROL = [chr(n) for n in range(0x110000) if unicodedata.category(chr(n)) in {"Cc", "Cf", "Zl", "Zp", "Zs"}]

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize(
    "name",
    [
        "bob",
        "7",
        "a" * 128,
        "e.g_me@host:1+2~3-4",
        "Ελένη",
        "हिन्दी",
        "किरण",
        "محمد",
        "กำลัง",
        "李小龍",
        "Zoë",
    ],
)
def test_names_of_any_script_are_ids(name: str) -> None:
    assert client_id(name) == unicodedata.normalize("NFC", name)


@pytest.mark.parametrize(
    "name",
    ["", "-a", "_a", ".", "@a", "\u0301a", "a b", "a/b", "a\n", "a#", "a?", "a%", '"', "<b>", "\ud800"],
)
def test_what_is_no_id_is_refused(name: str) -> None:
    with pytest.raises(InvalidClientId):
        client_id(name)


def test_no_control_format_or_space_character_is_taken_anywhere() -> None:
    for character in CONTROL:
        for name in (character, f"{character}a", f"a{character}", f"a{character}b"):
            with pytest.raises(InvalidClientId):
                client_id(name)


def test_two_spellings_of_a_letter_are_the_same_id() -> None:
    assert client_id("Zoe\u0308") == client_id("Zo\u00eb")


@pytest.mark.parametrize("letter", ["\u1f82", "\u1ea5", "\ud55c"])
def test_the_longest_ids_may_come_in_their_longest_spelling(letter: str) -> None:
    name = letter * messages.MAX_CLIENT_ID
    assert client_id(unicodedata.normalize("NFD", name)) == name


def test_what_would_take_long_to_bring_into_its_form_is_refused_before() -> None:
    # Ordering so many marks takes seconds; looking at them takes none.
    began = time.process_time()
    for name in ("a" + "\u0300\u0316" * 50_000, "a" + "\u0300\u0316" * 250):
        with pytest.raises(InvalidClientId):
            client_id(name)
    assert time.process_time() - began < 1
    assert client_id("a" + "\u0301" * messages.MAX_MARKS)
    with pytest.raises(InvalidClientId, match="marks"):
        client_id("a" + "\u0301" * (messages.MAX_MARKS + 1))


def test_the_length_counts_after_normalization() -> None:
    assert client_id("e\u0308" * 128) == "\u00eb" * 128
    with pytest.raises(InvalidClientId, match="not 129"):
        client_id("\u0958" * 64 + "a")  # each becomes two characters


@settings(max_examples=200)
@given(st.text(max_size=8))
def test_an_id_is_its_own_id_and_fits_on_a_line(text: str) -> None:
    try:
        name = client_id(text)
    except InvalidClientId:
        return
    assert client_id(name) == name
    assert name.isprintable()
    assert not set(name) & set(" /?#%\"'<>&=")


@settings(max_examples=150)
@given(JSON)
def test_any_json_survives_a_message(data: object) -> None:
    wire = messages.message(Message("1-0", 1.5, "bob", data))
    assert b"\n" not in wire
    assert json.loads(wire.decode()) == {
        "type": "message",
        "id": "1-0",
        "ts": 1.5,
        "from": "bob",
        "data": data,
    }


def test_a_lone_surrogate_stays_escaped() -> None:
    assert json.loads(messages.encode({"a": "\ud800é"})) == {"a": "\ud800é"}


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_numbers_that_json_lacks_are_refused(number: float) -> None:
    with pytest.raises(ValueError, match="JSON"):
        messages.encode({"data": [number]})


def test_only_a_direct_message_names_its_addressees() -> None:
    direct = json.loads(messages.message(Message("1-0", 0.0, "server", 1, ("bob", "eve"))))
    assert direct["to"] == ["bob", "eve"]
    assert "to" not in json.loads(messages.message(Message("1-0", 0.0, "server", 1)))


@settings(max_examples=100)
@given(JSON, st.lists(st.sampled_from(["bob", "eve", "Zo\u00eb"]), unique=True), st.booleans())
def test_each_addressee_sees_itself_alone_unless_all_are_shown(
    data: object, to: list[str], shown: bool
) -> None:
    wire = messages.message(Message("1-0", 1.5, "server", data, tuple(to), shown))
    whole = json.loads(wire)
    made = messages.addressed(wire, to)
    for name in ("bob", "eve", "Zo\u00eb"):
        expected = whole if shown else whole | {"to": [name]}
        assert json.loads(made(name)) == expected


@pytest.mark.parametrize("data", [{"to": ["bob", "eve"]}, [',"to":["bob","eve"]}'], ["to", ["bob", "eve"]]])
def test_data_that_looks_like_addressees_stays_whole(data: object) -> None:
    for to, shown in ((("bob", "eve"), True), (("bob", "eve"), False)):
        wire = messages.message(Message("1-0", 1.5, "server", data, to, shown))
        assert json.loads(messages.addressed(wire, to)("bob"))["data"] == data


def test_a_welcome_says_whether_anything_was_lost_only_when_asked() -> None:
    assert json.loads(messages.welcome("bob", "1-0", "9", "serving", None, connections=2)) == {
        "type": "welcome",
        "client_id": "bob",
        "id": "1-0",
        "server": {"version": "9", "phase": "serving", "connections": 2},
    }
    assert (
        json.loads(messages.welcome("bob", "1-0", "9", "serving", False, connections=2))["recovered"] is False
    )


def is_client_id(text: str) -> bool:
    try:
        return client_id(text) == text
    except InvalidClientId:
        return False


@given(
    client=st.from_regex(r"[^\W_][\w.@:+~-]{0,20}", fullmatch=True).filter(is_client_id),
    recovered=st.sampled_from([None, True, False]),
    connections=st.integers(0, 10**6),
    keepalive=st.integers(0, 300),
    degraded=st.booleans(),
)
def test_a_welcome_is_written_as_the_encoder_would(
    client: str, recovered: bool | None, connections: int, keepalive: int, degraded: bool
) -> None:
    welcome = messages.welcome(
        client,
        "1-0",
        "9",
        "serving",
        recovered,
        connections=connections,
        keepalive_s=keepalive,
        degraded=degraded,
    )
    assert messages.encode(json.loads(welcome)) == welcome
    assert json.loads(welcome)["client_id"] == client


def test_a_welcome_tells_of_a_keepalive_only_when_there_is_one() -> None:
    plain, kept = (
        messages.welcome("bob", "1-0", "9", "serving", None, connections=2, keepalive_s=s) for s in (0, 10)
    )
    assert json.loads(kept) == json.loads(plain) | {"keepalive_s": 10}


def test_the_other_frames_carry_what_they_promise() -> None:
    assert json.loads(messages.heartbeat(2.5, 3, 4)) == {
        "type": "heartbeat",
        "ts": 2.5,
        "connections": 3,
        "n": 4,
    }
    assert json.loads(messages.shutdown(1.23456, "SIGTERM")) == {
        "type": "shutdown",
        "deadline_s": 1.235,
        "reason": "SIGTERM",
    }
    assert json.loads(messages.shutdown(None, "cancelled"))["deadline_s"] is None
    assert json.loads(messages.shutdown(60.0, "SIGTERM", 1.23456))["reconnect_in_s"] == 1.235
    assert json.loads(messages.error("rate_limited", "slower")) == {
        "type": "error",
        "code": "rate_limited",
        "message": "slower",
    }


@given(st.text(), st.lists(st.floats(0, 1e6), max_size=5))
def test_an_invitation_is_the_shutdown_frame_with_a_moment(reason: str, moments: list[float]) -> None:
    for told, moment in zip(messages.invitations(60.5, reason, moments), moments, strict=True):
        assert json.loads(told) == json.loads(messages.shutdown(60.5, reason, moment))


def test_an_addressee_named_twice_gets_one_message() -> None:
    assert messages.recipients(["eve", "Zoe\u0308", "eve", "Zo\u00eb"]) == ("eve", "Zo\u00eb")
    with pytest.raises(InvalidClientId):
        messages.recipients(["eve", "not an id"])


def test_nobody_can_pass_for_the_server() -> None:
    with pytest.raises(InvalidClientId, match="server"):
        client_id("server")
    assert client_id("Server") == "Server"


@pytest.mark.parametrize(
    "name",
    [
        "server\ufe0f",
        "ser\U000e0100ver",
        "ser\u034fver",
        "server\u3164",
        "server\u2800",
        "\u3164",
        "\uffa0",
        "a\u115f",
        "a\u17b4",
        "a\u180b",
    ],
)
def test_what_cannot_be_seen_is_in_no_id(name: str) -> None:
    with pytest.raises(InvalidClientId, match=r"cannot be seen|letters, digits"):
        client_id(name)


@pytest.mark.parametrize(
    "name",
    [
        "\u0455erver",
        "s\u0435rv\u0435r",
        "se\u0433\u03bde\u0433",
        "\u0405ERVER",
        "\uff53\uff45\uff52\uff56\uff45\uff52",
        "\uff33\uff25\uff32\uff36\uff25\uff32",
        "".join(chr(0x1D400 + ord(c) - ord("A") - 6) for c in "server"),
        "\u017ferver",
        "ser\u2174er",
        "\ua731\u1d07\u0280\u1d20\u1d07\u0280",
    ],
)
def test_what_looks_like_the_server_is_no_id(name: str) -> None:
    with pytest.raises(InvalidClientId, match="looks like server"):
        client_id(name)


@pytest.mark.parametrize("name", ["serv\u00ebr", "сервер", "servers", "\u0455ervers", "my-server", "SERVER"])
def test_what_only_resembles_the_server_is_an_id(name: str) -> None:
    assert client_id(name) == name


@pytest.mark.parametrize(
    ("text", "token"),
    [
        ('{"type": "renew", "token": "t0p"}', "t0p"),
        (' \n{"token":"t0p","type":"renew","more":1}', "t0p"),
        ('{"type": "\\u0072enew", "token": "t0p"}', "t0p"),
        ('{"type": "renew", "type": "x", "token": "t0p"}', "t0p"),
        ('{"type": "renew", "token": null}', None),
        ('{"type": "renew", "token": ["t0p"]}', None),
        ('{"type": "renew"}', None),
        ('{"type": "renew", "token": "t0p', None),
        ('{"type" : "renew", "token": "t0p"} and more', None),
        ('{"type": "renew", "x": ' + "[" * 5000, None),
        ('\ufeff{"type": "renew", "token": "t"}', "t"),
        ("{'type': 'renew', 'token': 't'}", None),
        ('{type: "renew", token: "t"}', None),
    ],
)
def test_what_looks_like_a_renewal_is_one(text: str, token: str | None) -> None:
    assert messages.renewal(text) == messages.Renewal(token)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "renew",
        '"renew"',
        '["type", "renew"]',
        "{renew}",
        "{",
        '{"type": "renewed"}',
        '{"text": "renew"}',
        '{"data": {"type": 5, "token": "renew"}}',
        '{"type": "message", "data": "\\"type\\": \\"renew\\""}',
        "{" * 5000 + "renew",
    ],
)
def test_any_other_text_is_a_message(text: str) -> None:
    assert messages.renewal(text) is None


def test_a_renewal_says_for_how_long() -> None:
    assert json.loads(messages.renewed(3599.99961)) == {"type": "renewed", "expires_in_s": 3600.0}
