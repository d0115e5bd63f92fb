"""What a client shows, from its environment."""

from pathlib import Path

import pytest

from wsctl.client.credential import credential_from
from wsctl.errors import UsageError


def test_who_has_none_shows_none() -> None:
    assert credential_from({})() is None


def test_a_file_is_read_each_time(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("old\n")
    credential = credential_from({"WSCTL_CLIENT_TOKEN_FILE": str(file)})
    assert credential() == "old"
    file.write_text("new\n")
    assert credential() == "new"
    file.unlink()
    with pytest.raises(UsageError, match="WSCTL_CLIENT_TOKEN_FILE"):
        credential()


def test_what_cannot_be_read_is_told_before_anything_else(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="WSCTL_CLIENT_TOKEN_FILE"):
        credential_from({"WSCTL_CLIENT_TOKEN_FILE": str(tmp_path / "none")})
    with pytest.raises(UsageError, match="client token"):
        credential_from({"WSCTL_CLIENT_TOKEN": "two words"})
