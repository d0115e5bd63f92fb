"""Links to the dashboard, and its sessions."""

from pathlib import Path

import pytest

from wsctl.control.operations import ControlError
from wsctl.server.dashboard.access import (
    LINK_TIME,
    MOST_LINKS,
    SESSION_TIME,
    DashboardAccess,
    is_session,
)


class Wall:
    """A clock that is set."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def access(folder: Path | None, wall: Wall, token: str | None = None) -> DashboardAccess:
    return DashboardAccess(folder, token, wall)


def opened(here: DashboardAccess) -> str:
    """A session, by a link."""
    found = here.redeem(here.create_link().link)
    assert found
    return found.session


def test_a_link_is_good_once_in_whatever_process(runtime_dir: Path) -> None:
    wall = Wall()
    link = access(runtime_dir, wall).create_link().link
    assert access(runtime_dir, wall).redeem(link)
    assert access(runtime_dir, wall).redeem(link) is None


def test_a_link_that_is_too_old_or_none_is_refused(runtime_dir: Path) -> None:
    wall = Wall()
    here = access(runtime_dir, wall)
    link = here.create_link().link
    wall.now += LINK_TIME
    assert here.redeem(link) is None
    assert here.redeem("key") is here.redeem("../key") is here.redeem("") is None


def test_there_are_never_more_than_some_links(runtime_dir: Path) -> None:
    here = access(runtime_dir, Wall())
    for _ in range(MOST_LINKS + 5):
        newest = here.create_link()
    kept = [path for path in (runtime_dir / "dashboard").iterdir() if path.name != "key"]
    assert len(kept) == MOST_LINKS
    assert here.redeem(newest.link)


def test_a_session_is_good_for_an_hour_in_a_process_that_comes_later_too(runtime_dir: Path) -> None:
    wall = Wall()
    session = opened(access(runtime_dir, wall))
    later = access(runtime_dir, wall)
    assert is_session(session)
    assert later.good_until(session) == 1000.0 + SESSION_TIME
    wall.now += SESSION_TIME - 1
    renewed = later.renew(session)
    wall.now += 1
    assert renewed
    assert later.good_until(session) is later.renew(session) is None
    assert later.good_until(renewed.session)


@pytest.mark.parametrize(
    "changed", ["", "dashboard.", "dashboard.link.9999999999.00", "dashboard.x.1.2", "ż.1.2.3"]
)
def test_what_was_not_signed_is_no_session(runtime_dir: Path, changed: str) -> None:
    here = access(runtime_dir, Wall(), "secret")
    assert here.good_until(changed) is here.renew(changed) is None


def test_a_session_cannot_be_prolonged_by_who_has_it(runtime_dir: Path) -> None:
    here = access(runtime_dir, Wall())
    name, kind, expires, signature = opened(here).split(".")
    assert here.good_until(".".join((name, kind, str(int(expires) + 1), signature))) is None
    assert here.good_until(".".join((name, "token", expires, signature))) is None


def test_a_session_for_a_token_ends_with_that_and_is_good_nowhere_else() -> None:
    wall = Wall()
    found = access(None, wall, "secret").for_token()
    assert found
    session = found.session
    assert access(None, wall, "secret").good_until(session)
    assert access(None, wall, "another").good_until(session) is None
    assert access(None, wall).good_until(session) is None


def test_without_a_folder_of_this_users_alone_there_are_no_links(runtime_dir: Path) -> None:
    with pytest.raises(ControlError, match="need the runtime folder"):
        access(None, Wall()).create_link()
    runtime_dir.chmod(0o777)
    with pytest.raises(ControlError, match="others can write"):
        access(runtime_dir, Wall()).create_link()


def test_nobody_else_reads_what_is_kept(runtime_dir: Path) -> None:
    opened(access(runtime_dir, Wall()))
    kept = runtime_dir / "dashboard"
    assert {oct(path.stat().st_mode & 0o777) for path in [kept, *kept.iterdir()]} == {"0o700", "0o600"}


def test_a_server_without_a_token_has_no_session_for_one() -> None:
    assert access(None, Wall()).for_token() is None
