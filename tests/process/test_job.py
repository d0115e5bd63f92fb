"""The process that was started stays where somebody waits for it."""

import pytest

from wsctl.process.job import job


@pytest.mark.parametrize(
    ("environ", "stays", "outlives"),
    [({}, False, False), ({}, True, True), ({"NOTIFY_SOCKET": "/run/notify"}, True, False)],
)
def test_it_stays_where_it_is_told_to_and_no_service_manager_knows_the_others(
    environ: dict[str, str], stays: bool, outlives: bool
) -> None:
    assert job(environ, stays=stays).outlives is outlives
