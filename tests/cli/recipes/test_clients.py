"""What the examples of clients are filled with, for all settings."""

import ast
import json
import re
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.examples import NOWHERE
from wsctl.cli.recipes import generate_file
from wsctl.cli.recipes.clients import address
from wsctl.errors import UsageError
from wsctl.settings import Settings

KINDS = ("python", "node", "browser", "eventsource", "react")

SERVER = re.compile(r'^ *(?:const )?SERVER = ("[^"\n]*");?$', re.MULTILINE)


@pytest.mark.parametrize(
    ("settings", "url"),
    [
        (Settings(), "http://127.0.0.1:8000"),
        (Settings(port=80, ssl_certfile="cert.pem"), "https://127.0.0.1:80"),
        (Settings(host="0.0.0.0"), "http://localhost:8000"),
        (Settings(host="::"), "http://localhost:8000"),
        (Settings(host=""), "http://localhost:8000"),
        (Settings(host="::1"), "http://[::1]:8000"),
        (Settings(host="chat.example.org"), "http://chat.example.org:8000"),
        (Settings(host="żółw.example"), "http://xn--w-uga1v8h.example:8000"),
        (Settings(root_path="/chat/"), "http://127.0.0.1:8000/chat"),
        (Settings(root_path="chat"), "http://127.0.0.1:8000/chat"),
        (Settings(root_path="/"), "http://127.0.0.1:8000"),
        (Settings(root_path="/a b/%20"), "http://127.0.0.1:8000/a%20b/%20"),
        (Settings(root_path="/\udcff"), "http://127.0.0.1:8000/%FF"),
    ],
)
def test_clients_go_where_the_server_listens(settings: Settings, url: str) -> None:
    assert address(settings) == url


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (Settings(uds="/run/wsctl.sock"), "--uds is no address for clients"),
        (Settings(fd=3), "--fd is no address for clients"),
        (Settings(port=0), "--port 0 is known when the server runs"),
        (Settings(host="fe80::1%eth0"), "on one link of this machine"),
        (Settings(host='a"b'), "is not the name of a host"),
        (Settings(host="a..b"), "is not the name of a host"),
        (Settings(host="a/b"), "is not the name of a host"),
    ],
)
def test_settings_without_an_address_are_told_in_a_line(settings: Settings, words: str) -> None:
    with pytest.raises(UsageError, match=words) as refused:
        generate_file("python", settings, NOWHERE)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("kind", KINDS)
def test_no_placeholder_stays_empty(kind: str) -> None:
    assert "@{" not in generate_file(kind, Settings(), NOWHERE)


TEXT = st.text() | st.text(alphabet="\"'`\\\n\r<>/$@{}-*;a%")


@given(kind=st.sampled_from(KINDS), host=TEXT | st.just("localhost"), root_path=TEXT)
def test_no_setting_breaks_out_of_its_quotes(kind: str, host: str, root_path: str) -> None:
    settings = Settings(host=host, root_path=root_path)
    try:
        url = address(settings)
    except UsageError:
        return
    assert re.fullmatch(r"[\w.~:/%@+\[\]-]+", url, re.ASCII)
    assert unquote(urlsplit(url).path) == unquote(f"/{root_path.strip('/')}".rstrip("/"))
    found = SERVER.findall(generate_file(kind, settings, NOWHERE))
    assert len(found) == 1
    assert ast.literal_eval(found[0]) == json.loads(found[0])
    assert json.loads(found[0]) == (url.replace("http", "ws", 1) if kind == "python" else url)
