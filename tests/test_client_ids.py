"""What a client id may look like."""

import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.hidden import in_categories
from tests.support.sizes import examples
from wsctl import client_ids
from wsctl.client_ids import InvalidClientId, client_id


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
    for character in in_categories("Cc", "Cf", "Zl", "Zp", "Zs"):
        for name in (character, f"{character}a", f"a{character}", f"a{character}b"):
            with pytest.raises(InvalidClientId):
                client_id(name)


def test_two_spellings_of_a_letter_are_the_same_id() -> None:
    assert client_id("Zoe\u0308") == client_id("Zo\u00eb")


@pytest.mark.parametrize("letter", ["\u1f82", "\u1ea5", "\ud55c"])
def test_the_longest_ids_may_come_in_their_longest_spelling(letter: str) -> None:
    name = letter * client_ids.MAX_CLIENT_ID
    assert client_id(unicodedata.normalize("NFD", name)) == name


def test_what_would_take_long_to_bring_into_its_form_is_refused_before() -> None:
    # Ordering so many marks takes seconds; looking at them takes none.
    began = time.process_time()
    for name in ("a" + "\u0300\u0316" * 50_000, "a" + "\u0300\u0316" * 250):
        with pytest.raises(InvalidClientId):
            client_id(name)
    assert time.process_time() - began < 1
    assert client_id("a" + "\u0301" * client_ids.MAX_MARKS)
    with pytest.raises(InvalidClientId, match="marks"):
        client_id("a" + "\u0301" * (client_ids.MAX_MARKS + 1))


def test_the_length_counts_after_normalization() -> None:
    assert client_id("e\u0308" * 128) == "\u00eb" * 128
    with pytest.raises(InvalidClientId, match="not 129"):
        client_id("\u0958" * 64 + "a")  # each becomes two characters


@examples(200)
@given(st.text(max_size=8))
def test_an_id_is_its_own_id_and_fits_on_a_line(text: str) -> None:
    try:
        name = client_id(text)
    except InvalidClientId:
        return
    assert client_id(name) == name
    assert name.isprintable()
    assert not set(name) & set(" /?#%\"'<>&=")


def test_an_addressee_named_twice_gets_one_message() -> None:
    assert client_ids.recipients(["eve", "Zoe\u0308", "eve", "Zo\u00eb"]) == ("eve", "Zo\u00eb")
    with pytest.raises(InvalidClientId):
        client_ids.recipients(["eve", "not an id"])


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
