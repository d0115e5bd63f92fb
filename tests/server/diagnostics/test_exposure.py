"""Servers that others can reach: from where, with what credentials, and who reads their secrets."""

import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.support.programs import need
from wsctl.server.diagnostics.exposure import (
    OWN_SOCKETS,
    check_credentials,
    check_hosts,
    check_operator_token,
    check_proxies,
    check_secret_files,
    exposed,
    is_public,
    log_exposure,
    own_listeners,
    shared_secret_file,
)
from wsctl.server.diagnostics.finding import Level
from wsctl.settings import Settings


@contextmanager
def listening(host: str, family: int = socket.AF_INET) -> Iterator[socket.socket]:
    with closing(socket.socket(family)) as sock:
        try:
            sock.bind((host, 0))
        except OSError:
            pytest.skip(f"this machine has no {host}")
        sock.listen()
        yield sock


@pytest.mark.parametrize(
    ("host", "family", "shown"),
    [
        ("127.0.0.1", socket.AF_INET, None),
        ("127.1.2.3", socket.AF_INET, None),
        ("::1", socket.AF_INET6, None),
        ("::ffff:127.0.0.1", socket.AF_INET6, None),
        ("0.0.0.0", socket.AF_INET, "0.0.0.0:{}"),
        ("::", socket.AF_INET6, "[::]:{}"),
    ],
)
def test_loopback_is_for_this_machine_alone(host: str, family: int, shown: str | None) -> None:
    with listening(host, family) as sock:
        port = sock.getsockname()[1]
        assert exposed([sock]) == ([shown.format(port)] if shown else [])


def test_a_unix_socket_is_for_this_machine_alone() -> None:
    with closing(socket.socket(socket.AF_UNIX)) as sock:
        assert exposed([sock]) == []


def test_a_process_finds_the_sockets_that_it_listens_on_whoever_made_them() -> None:
    with listening("0.0.0.0") as sock:
        before = os.listdir(OWN_SOCKETS)
        found = own_listeners()
        assert os.listdir(OWN_SOCKETS) == before
        assert found is not None
        assert f"0.0.0.0:{sock.getsockname()[1]}" in found
        assert sock.fileno() >= 0  # looking has left it open


@pytest.mark.parametrize(
    ("settings", "addresses", "what"),
    [
        (Settings(), ["0.0.0.0:80"], "connect and publish"),
        (Settings(client_publish=()), ["0.0.0.0:80"], "connect and listen"),
        (Settings(), [], None),
        (Settings(auth="token", client_token="t0p"), ["0.0.0.0:80"], None),
    ],
)
def test_it_is_told_where_nobody_is_asked_for_anything(
    settings: Settings, addresses: list[str], what: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    log_exposure(settings, addresses)
    told = [record.getMessage() for record in caplog.records]
    assert told == (
        [
            f"anyone who reaches 0.0.0.0:80 may {what}, under any id, and then gets its direct messages"
            ": --auth asks for credentials"
        ]
        if what
        else []
    )


@pytest.mark.parametrize(
    ("settings", "public"),
    [
        (Settings(), False),
        (Settings(host="::1"), False),
        (Settings(host="127.3.2.1"), False),
        (Settings(host="localhost"), False),
        (Settings(host="0.0.0.0"), True),
        (Settings(host="::"), True),
        (Settings(host=""), True),
        (Settings(host="10.1.2.3"), True),
        (Settings(host="example.org"), True),
        (Settings(host="0.0.0.0", uds="/x"), False),
        (Settings(host="0.0.0.0", fd=3), False),
    ],
)
def test_what_other_machines_reach_is_public(settings: Settings, public: bool) -> None:
    assert is_public(settings) == public
    assert check_operator_token(settings).level == ("warning" if public else "ok")


def test_a_name_of_a_host_that_keeps_nobody_out_is_told() -> None:
    ours = ("chat.example",)
    for settings in (Settings(host="0.0.0.0", allow_host=ours), Settings(uds="/x", allow_host=ours)):
        found = check_hosts(settings)
        assert found
        assert (found.level, "--allow-host has no effect" in found.text) == ("warning", True)
    for settings in (
        Settings(allow_host=ours),
        Settings(host="0.0.0.0"),
        Settings(host="::", allow_host=("*",)),
    ):
        assert check_hosts(settings) is None


def test_who_believes_everybody_on_a_public_address_is_warned() -> None:
    found = check_proxies(Settings(host="0.0.0.0", forwarded_allow_ips="*"))
    assert found
    assert found.level == "warning"
    assert "may choose its address" in found.text
    for fine in (
        Settings(forwarded_allow_ips="*"),
        Settings(host="0.0.0.0"),
        Settings(host="0.0.0.0", forwarded_allow_ips="10.0.0.0/8"),
        Settings(host="0.0.0.0", forwarded_allow_ips="*", proxy_headers=False),
    ):
        assert check_proxies(fine) is None


def test_with_a_token_there_is_a_way_in() -> None:
    assert check_operator_token(Settings(host="0.0.0.0", token="x")).level == "ok"


@pytest.mark.parametrize(("mode", "told"), [(0o600, 0), (0o640, 0), (0o644, 1), (0o604, 1)])
def test_a_secret_that_everybody_can_read_is_told(tmp_path: Path, mode: int, told: int) -> None:
    path = tmp_path / "secret"
    path.touch()
    path.chmod(mode)
    for found in (
        check_secret_files({"WSCTL_TOKEN_FILE": str(path)}, {}),
        check_secret_files({}, {"--key": str(path)}),
    ):
        assert len(found) == told
        assert all(each.fix == f"chmod 600 {path}" for each in found)


def test_a_secret_that_is_not_there_is_somebody_else_s_to_tell(tmp_path: Path) -> None:
    assert check_secret_files({"WSCTL_TOKEN_FILE": str(tmp_path / "none")}, {"--key": None}) == []


@pytest.fixture
def secret(tmp_path: Path) -> str:
    path = tmp_path / "secret"
    path.write_text("s" * 32)
    return str(path)


@pytest.fixture
def public(tmp_path: Path) -> str:
    need("openssl")
    private, public = tmp_path / "private.pem", tmp_path / "public.pem"
    for command in (
        f"genpkey -algorithm ed25519 -out {private}",
        f"pkey -in {private} -pubout -out {public}",
    ):
        subprocess.run(["openssl", *command.split()], check=True, capture_output=True)
    return str(public)


def test_a_server_that_everybody_reaches_and_that_asks_nobody_is_warned_of() -> None:
    found = check_credentials(Settings(host="0.0.0.0"))
    assert (found.level, "publish" in found.text) == ("warning", True)
    assert "--auth" in str(found.fix)
    assert "publish" not in check_credentials(Settings(host="0.0.0.0", client_publish=())).text
    assert check_credentials(Settings()).level == "ok"


def test_a_server_that_asks_is_in_order(secret: str, public: str) -> None:
    everywhere = {"host": "0.0.0.0", "auth": "jwt"}
    for settings in (
        Settings(host="0.0.0.0", auth="token", client_token="x"),
        Settings(**everywhere, jwt_key=secret),
        Settings(**everywhere, jwt_key=public),
    ):
        assert check_credentials(settings).level == "ok"


def test_a_key_that_checks_nothing_is_an_error(tmp_path: Path) -> None:
    short = tmp_path / "short"
    short.write_text("hush")
    found = check_credentials(Settings(auth="jwt", jwt_key=str(short)))
    assert (found.level, "32 bytes" in found.text) == ("error", True)
    assert check_credentials(Settings(auth="jwt", jwt_key=str(tmp_path / "none"))).level == "error"


def test_of_keys_only_a_secret_must_be_hidden(secret: str, public: str, tmp_path: Path) -> None:
    assert shared_secret_file(Settings(auth="jwt", jwt_key=secret)) == secret
    assert shared_secret_file(Settings(auth="jwt", jwt_key=public)) is None
    assert shared_secret_file(Settings(auth="jwt", jwt_key=str(tmp_path / "none"))) is None
    assert shared_secret_file(Settings()) is None


def test_the_token_of_publishers_is_told_beside_that_of_operators() -> None:
    both = check_operator_token(Settings(token="t", publish_token="p"))
    assert both.text.endswith("; publishers have one of their own")
    alone = check_operator_token(Settings(publish_token="p", host="0.0.0.0"))
    assert (alone.level, alone.text.partition(":")[0]) == (Level.OK, "none but that of publishers")
