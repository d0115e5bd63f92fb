"""Which certificates clients accept, and how long."""

from datetime import timedelta
from pathlib import Path

import pytest

from tests.support import certificates
from wsctl.server.diagnostics.certificate import (
    DAY,
    RENEWAL_DUE,
    RENEWAL_PART,
    Certificate,
    assess,
    check_certificate,
)

YEAR = 365 * DAY
LIFE = Certificate(0, YEAR, ("a.example",))


@pytest.mark.parametrize(
    ("now", "level"),
    [
        (-1, "error"),
        (0, "ok"),
        (YEAR - RENEWAL_DUE - 1, "ok"),
        (YEAR - RENEWAL_DUE, "ok"),
        (YEAR - RENEWAL_DUE + 1, "warning"),
        (YEAR, "warning"),
        (YEAR + 1, "error"),
    ],
)
def test_a_certificate_has_its_days(now: float, level: str) -> None:
    assert assess(LIFE, now).level == level


@pytest.mark.parametrize(
    ("left", "level"), [(6 * DAY * RENEWAL_PART + 1, "ok"), (6 * DAY * RENEWAL_PART - 1, "warning")]
)
def test_a_short_life_is_no_reason_to_warn_all_the_time(left: float, level: str) -> None:
    assert assess(Certificate(0, 6 * DAY, ("a",)), 6 * DAY - left).level == level


def test_one_without_names_is_accepted_by_nobody() -> None:
    assert assess(Certificate(0, YEAR, ()), 1).level == "error"


def test_openssl_s_are_read(certificate: tuple[str, str]) -> None:
    found = check_certificate(*certificate)
    assert found.level == "ok"
    assert "(1 d left), for 127.0.0.1" in found.text


@pytest.mark.parametrize(
    ("since", "until", "level", "says"),
    [
        (-10, 90, "ok", "(89 d left), for a.example, b.example"),
        (-80, 10, "warning", "(9 d left)"),
        (-80, -1, "error", "expired on "),
        (2, 90, "error", "not valid before "),
    ],
)
def test_the_dates_are_read_whatever_they_are(
    tmp_path: Path, since: int, until: int, level: str, says: str
) -> None:
    found = check_certificate(*certificates.certificate(tmp_path, timedelta(since), timedelta(until)))
    assert found.level == level
    assert says in found.text
    assert bool(found.fix) == (level != "ok")


def test_another_s_key_does_not_belong_to_it(tmp_path: Path, certificate: tuple[str, str]) -> None:
    _, key = certificates.certificate(tmp_path, timedelta(0), timedelta(9))
    (tmp_path / "other").mkdir()
    other, _ = certificates.certificate(tmp_path / "other", timedelta(0), timedelta(9))
    for cert in (certificate[0], other):  # of another kind, and of the same
        found = check_certificate(cert, key)
        assert found.level == "error"
        assert f"{cert} and {key} do not belong together" in found.text


def test_a_key_with_a_password_is_asked_of_nobody(tmp_path: Path) -> None:
    found = check_certificate(
        *certificates.certificate(tmp_path, timedelta(0), timedelta(9), password=b"tiger")
    )
    assert found.level == "error"
    assert "has a password" in found.text


def test_the_file_that_cannot_be_read_is_named(tmp_path: Path, certificate: tuple[str, str]) -> None:
    cert, key = certificate
    gone = str(tmp_path / "gone.pem")
    assert check_certificate(gone, key).text == f"{gone}: No such file or directory"
    assert check_certificate(cert, gone).text == f"{gone}: No such file or directory"
    assert check_certificate(__file__, None).level == "error"
    assert check_certificate(cert, None).level == "error"  # the key is not in it
