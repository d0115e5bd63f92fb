"""Units, as systemd itself reads them."""

import os
import re
import subprocess
from pathlib import Path

import pytest
from hypothesis import given

from tests.support.programs import need
from tests.support.written import ODD, any_settings, quoted_words, unit_words
from wsctl.cli.recipes import generate_file
from wsctl.cli.recipes.deployment import Place, flags, stop_time
from wsctl.errors import UsageError
from wsctl.settings import Settings

HERE = Place(made_by="wsctl generate systemd", program="/bin/true")
"""A program that is on every machine: systemd looks whether it is there."""

EXPOSURE = 15
"""What `systemd-analyze security` may give, of 100; it says 12, mostly for a server's need of the network."""


@pytest.fixture
def verify(tmp_path: Path) -> "Verify":
    need("systemd-analyze", "pgrep")
    return Verify(tmp_path)


class Verify:
    """`systemd-analyze verify`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(self, name: str, text: str) -> str:
        """Systemd has nothing against the unit. Returns the name by which it knows it."""
        (self._folder / name).write_text(text)
        shown = name.replace("@.", "@8001.")
        quiet = self._run("verify", "--man=no", f"./{shown}")
        assert (quiet.returncode, quiet.stderr + quiet.stdout) == (0, "")
        return shown

    def understood(self, name: str, text: str) -> dict[str, list[str]]:
        """Systemd has nothing against the unit, and understood it so: what it shows for each heading."""
        shown = self(name, text)
        loud = self._run("verify", "--man=no", f"./{shown}", SYSTEMD_LOG_LEVEL="debug")
        found: dict[str, list[str]] = {}
        of_this = loud.stdout.partition(f"-> Unit {shown}:")[2].partition("\n-> Unit")[0]
        for heading, value in re.findall(r"^\s*([\w ]+): (.*)$", of_this, re.MULTILINE):
            found.setdefault(heading, []).append(value)
        return found

    def exposure(self, name: str) -> subprocess.CompletedProcess[str]:
        limit = f"--threshold={EXPOSURE}"
        return self._run("security", "--offline=yes", "--no-pager", limit, f"./{name}")

    def _run(self, *words: str, **environ: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            ["systemd-analyze", *words],
            cwd=self._folder,
            env=os.environ | environ,
            capture_output=True,
            text=True,
            check=False,
        )


def _lines(text: str, name: str) -> list[str]:
    joined = text.replace(" \\\n", " ")
    return re.findall(rf"^{name}=(.*)$", joined, re.MULTILINE)


def _command(text: str) -> list[str]:
    (line,) = _lines(text, "ExecStart")
    return unit_words(line)


@given(any_settings())
def test_the_command_says_what_the_settings_say(meant: Settings) -> None:
    text = generate_file("systemd", meant, HERE)
    words = [word for word in flags(meant) if not word.startswith("--ssl")]
    assert _command(text)[: 2 + len(words)] == ["/bin/true", "serve", *words]
    assert _lines(text, "TimeoutStopSec") == [str(stop_time(meant))]


def test_systemd_reads_odd_words_as_they_were_meant(verify: Verify) -> None:
    meant = Settings(allow_origin=ODD)
    found = verify.understood("wsctl.service", generate_file("systemd", meant, HERE))
    start = found["Command Line"][0].replace(r"\$", "$").replace(r"\`", "`")
    # Systemd makes one of $$ when it starts the command.
    assert [part.replace("$$", "$") for part in quoted_words(start)][2:] == flags(meant)


def test_a_plain_service_is_as_the_server_needs_it(verify: Verify) -> None:
    text = generate_file("systemd", Settings(shutdown_timeout=600, drain_delay=15, port=9000), HERE)
    verify("wsctl.service", text)
    assert verify.exposure("wsctl.service").returncode == 0
    for name, value in {
        "Type": "notify",
        "NotifyAccess": "main",
        "ExecReload": "kill -USR2 $MAINPID",
        "TimeoutStopSec": "645",
        "KillMode": "control-group",
        "LimitNOFILE": "65536",
        "CapabilityBoundingSet": "",
        "RuntimeDirectory": "wsctl",
        "Environment": "WSCTL_RUNTIME_DIR=%t/wsctl",
        "ProtectHome": "yes",
    }.items():
        assert _lines(text, name) == [value], name


def test_secrets_are_credentials_and_are_never_shown(verify: Verify) -> None:
    url = "redis://me:s3cret@store:6379/0"
    text = generate_file("systemd", Settings(token="s3cret", redis=url), HERE)
    assert "s3cret" not in text
    found = verify.understood("wsctl.service", text)
    assert _lines(text, "LoadCredential") == [
        "token:/etc/wsctl/token",
        "redis_password:/etc/wsctl/redis_password",
    ]
    place = "/run/credentials/wsctl.service"
    assert {
        "WSCTL_REDIS=redis://me@store:6379/0",
        f"WSCTL_TOKEN_FILE={place}/token",
        f"WSCTL_REDIS_PASSWORD_FILE={place}/redis_password",
    } < set(found["Environment"])


def test_without_a_token_the_file_says_where_one_would_go() -> None:
    text = generate_file("systemd", Settings(), HERE)
    assert _lines(text, "LoadCredential") == []
    assert "# LoadCredential=token:/etc/wsctl/token" in text
    assert "# LoadCredential=publish_token:/etc/wsctl/publish_token" in text
    assert "# Environment=WSCTL_PUBLISH_TOKEN_FILE=%d/publish_token" in text


def test_a_key_is_read_by_root_for_the_server(verify: Verify) -> None:
    text = generate_file("systemd", Settings(ssl_certfile="/etc/my 50%.pem", ssl_keyfile="/etc/k.pem"), HERE)
    verify("wsctl.service", text)
    assert _lines(text, "LoadCredential") == [
        "ssl_certfile:/etc/my 50%%.pem",
        "ssl_keyfile:/etc/k.pem",
    ]
    assert _lines(text, "ExecStart")[0].split()[2:] == [
        "--ssl-certfile=%d/ssl_certfile",
        "--ssl-keyfile=%d/ssl_keyfile",
    ]


def test_a_privileged_port_comes_with_its_capability_and_no_other(verify: Verify) -> None:
    text = generate_file("systemd", Settings(port=443), HERE)
    verify("wsctl.service", text)
    assert _lines(text, "AmbientCapabilities") == ["CAP_NET_BIND_SERVICE"]
    assert _lines(text, "PrivateUsers") == ["no"]


def test_a_privileged_admin_port_comes_with_the_capability_too() -> None:
    for meant, needed in (
        (Settings(admin_port=80), True),
        (Settings(admin_port=9000), False),
        (Settings(uds="/run/x/x.sock", admin_port=80), True),
    ):
        assert ("CAP_NET_BIND_SERVICE" in generate_file("systemd", meant, HERE)) == needed


def test_instances_cannot_share_an_admin_port() -> None:
    with pytest.raises(UsageError, match="leave it out"):
        generate_file("systemd-template", Settings(admin_port=9000), HERE)


@pytest.mark.parametrize(
    ("uds", "folders", "writable"),
    [
        ("/run/wsctl/public.sock", "wsctl", []),
        ("/run/chat room/50%.sock", 'wsctl "chat room"', []),
        ("/srv/my chat/public.sock", "wsctl", ['"/srv/my chat"']),
    ],
)
def test_a_unix_socket_has_a_folder_that_the_proxy_may_enter_and_the_control_socket_one_of_its_own(
    verify: Verify, uds: str, folders: str, writable: list[str]
) -> None:
    text = generate_file("systemd", Settings(uds=uds), HERE)
    verify("wsctl.service", text)
    assert _lines(text, "RuntimeDirectory") == [folders]
    assert _lines(text, "RuntimeDirectoryMode") == ["0755"]
    assert _lines(text, "ReadWritePaths") == writable
    assert _lines(text, "Environment") == ["WSCTL_RUNTIME_DIR=%t/wsctl/control"]
    assert _command(text)[2:] == [f"--uds={uds}"]


@pytest.mark.parametrize(
    ("journal", "path", "folder"),
    [
        ("log.db", "/var/lib/wsctl/log.db", "wsctl"),
        ("/var/lib/wsctl/log.db", "/var/lib/wsctl/log.db", "wsctl"),
        ("/var/lib/chat room/50%.db", "/var/lib/chat room/50%.db", '"chat room"'),
    ],
)
def test_a_journal_is_in_a_folder_that_systemd_makes_and_keeps(
    verify: Verify, journal: str, path: str, folder: str
) -> None:
    text = generate_file("systemd", Settings(journal=journal), HERE)
    verify("wsctl.service", text)
    assert verify.exposure("wsctl.service").returncode == 0
    assert _command(text)[2:] == [f"--journal={path}"]
    assert _lines(text, "StateDirectory") == [folder]
    assert _lines(text, "StateDirectoryMode") == ["0700"]
    assert _lines(text, "ReadWritePaths") == []


def test_a_journal_on_another_disk_waits_for_that_and_may_be_written(verify: Verify) -> None:
    text = generate_file("systemd", Settings(journal="/srv/a 50%/log.db"), HERE)
    verify("wsctl.service", text)
    assert _command(text)[2:] == ["--journal=/srv/a 50%/log.db"]
    for name in ("ReadWritePaths", "RequiresMountsFor"):
        assert _lines(text, name) == ['"/srv/a 50%%"'], name
    assert _lines(text, "StateDirectory") == []
    plain = generate_file("systemd", Settings(), HERE)
    assert not any(_lines(plain, name) for name in ("RequiresMountsFor", "StateDirectory", "ReadWritePaths"))


def test_each_instance_has_a_journal_of_its_own(verify: Verify) -> None:
    meant = Settings(journal="my 50%.db", journal_sync="normal")
    text = generate_file("systemd-template", meant, HERE)
    found = verify.understood("wsctl@.service", text)
    assert quoted_words(found["Command Line"][0])[2:] == [
        "--journal-sync=normal",
        "--port=8001",
        "--journal=/var/lib/wsctl/8001/my 50%.db",
    ]
    assert _lines(text, "StateDirectory") == ["wsctl/%i"]


def test_instances_have_a_port_and_a_folder_each(verify: Verify) -> None:
    text = generate_file("systemd-template", Settings(port=9000, redis="redis://store:6379/0"), HERE)
    found = verify.understood("wsctl@.service", text)
    assert quoted_words(found["Command Line"][0])[1:] == ["serve", "--port=8001"]
    assert "WSCTL_RUNTIME_DIR=/run/wsctl/8001" in found["Environment"]
    assert found["RuntimeDirectory"] == ["wsctl/8001"]
    assert "share no messages" not in text
    assert "share no messages" in generate_file("systemd-template", Settings(), HERE)


@pytest.mark.parametrize(
    ("meant", "addresses"),
    [
        (Settings(), ["127.0.0.1:8000"]),
        (Settings(host="", port=80), ["80"]),
        (Settings(host="::1"), ["[::1]:8000"]),
        (Settings(host="localhost"), ["127.0.0.1:8000", "[::1]:8000"]),
        (Settings(uds="/run/50%"), ["/run/50%%"]),
    ],
)
def test_a_socket_listens_where_the_server_would(
    verify: Verify, meant: Settings, addresses: list[str]
) -> None:
    verify("wsctl.service", generate_file("systemd", Settings(), HERE))
    text = generate_file("systemd-socket", meant, HERE)
    verify("wsctl.socket", text)
    assert _lines(text, "ListenStream") == addresses
    assert _lines(text, "Backlog") == ["2048"]


def test_wsctl_in_a_home_is_remarked_on() -> None:
    text = generate_file(
        "systemd", Settings(), Place("wsctl generate systemd", "/home/me/bin/wsctl", in_home=True)
    )
    assert _lines(text, "ProtectHome") == ["read-only"]
    assert "kept out of this home" in text


def test_a_program_with_an_odd_path_is_started(verify: Verify, tmp_path: Path) -> None:
    program = tmp_path / "my 50% $x" / "wsctl"
    program.parent.mkdir()
    program.symlink_to("/bin/true")
    found = verify.understood(
        "wsctl.service", generate_file("systemd", Settings(), Place("wsctl generate systemd", str(program)))
    )
    assert quoted_words(found["Command Line"][0].replace(r"\$", "$"))[0] == str(program)


@pytest.mark.parametrize(
    ("kind", "meant", "why"),
    [
        ("systemd", Settings(fd=3), "--fd"),
        ("systemd", Settings(port=0), "--port 0"),
        ("systemd", Settings(uds="public.sock"), "absolute path"),
        ("systemd", Settings(journal="/home/me/log.db"), "cannot enter a home; give --journal log.db"),
        ("systemd", Settings(journal="/run/wsctl/log.db"), "does not outlive"),
        ("systemd", Settings(journal="/var/lib/log.db"), "a folder of its own"),
        (
            "systemd-template",
            Settings(journal="/srv/wsctl/log.db"),
            "cannot share one; give --journal log.db",
        ),
        ("systemd-template", Settings(uds="/run/x"), "--uds"),
        ("systemd-socket", Settings(host="chat.example"), "no name"),
    ],
)
def test_what_no_unit_can_mean_is_refused(kind: str, meant: Settings, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        generate_file(kind, meant, HERE)


def test_a_path_that_systemd_takes_for_no_program_is_refused() -> None:
    with pytest.raises(UsageError, match="quotes"):
        generate_file("systemd", Settings(), Place("wsctl generate systemd", "/opt/it's/wsctl"))


def test_a_program_needs_its_whole_path() -> None:
    with pytest.raises(UsageError, match="absolute"):
        Place("wsctl generate systemd", "bin/wsctl")
