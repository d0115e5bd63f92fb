"""Who from elsewhere can do what, and who can read secrets."""

from pathlib import Path

import pytest

from wsctl.server.checks.exposure import is_public, proxies, secret_files, token
from wsctl.settings import Settings


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
    assert token(settings).level == ("warning" if public else "ok")


def test_who_believes_everybody_on_a_public_address_is_warned() -> None:
    found = proxies(Settings(host="0.0.0.0", forwarded_allow_ips="*"))
    assert found
    assert found.level == "warning"
    assert "may choose its address" in found.text
    for fine in (
        Settings(forwarded_allow_ips="*"),
        Settings(host="0.0.0.0"),
        Settings(host="0.0.0.0", forwarded_allow_ips="10.0.0.0/8"),
        Settings(host="0.0.0.0", forwarded_allow_ips="*", proxy_headers=False),
    ):
        assert proxies(fine) is None


def test_with_a_token_there_is_a_way_in() -> None:
    assert token(Settings(host="0.0.0.0", token="x")).level == "ok"


@pytest.mark.parametrize(("mode", "told"), [(0o600, 0), (0o640, 0), (0o644, 1), (0o604, 1)])
def test_a_secret_that_everybody_can_read_is_told(tmp_path: Path, mode: int, told: int) -> None:
    path = tmp_path / "secret"
    path.touch()
    path.chmod(mode)
    for found in (secret_files({"WSCTL_TOKEN_FILE": str(path)}, {}), secret_files({}, {"--key": str(path)})):
        assert len(found) == told
        assert all(each.fix == f"chmod 600 {path}" for each in found)


def test_a_secret_that_is_not_there_is_somebody_else_s_to_tell(tmp_path: Path) -> None:
    assert secret_files({"WSCTL_TOKEN_FILE": str(tmp_path / "none")}, {"--key": None}) == []
