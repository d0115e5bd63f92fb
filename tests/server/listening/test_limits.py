"""What the limit of open files leaves for clients."""

import json
import resource
import subprocess
import sys

import pytest

from tests.support.server import DEADLINE
from wsctl.server.listening.limits import LAST_FILES, RESERVED_FILES, ConnectionLimits, capacity, fits
from wsctl.server.listening.pending_connections import MAX_PENDING


@pytest.mark.parametrize(
    ("asked", "open_files", "clients"),
    [
        (None, 1024, 1024 - RESERVED_FILES),
        (100, 1024, 100),
        (5000, 1024, 1024 - RESERVED_FILES),
        (0, 1024, 0),
        (None, RESERVED_FILES, 1),
        (None, 3, 1),
        (None, resource.RLIM_INFINITY, 0),
        (7, resource.RLIM_INFINITY, 7),
        (0, resource.RLIM_INFINITY, 0),
    ],
)
def test_clients_are_what_was_asked_for_within_the_open_files(
    asked: int | None, open_files: int, clients: int
) -> None:
    assert capacity(asked, open_files) == clients


def test_descriptors_fit_up_to_the_limit_and_always_where_there_is_none() -> None:
    assert fits(100, 100)
    assert not fits(101, 100)
    assert fits(1 << 40, resource.RLIM_INFINITY)


def test_connections_without_a_client_leave_descriptors_to_operators() -> None:
    held = 0
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limits = ConnectionLimits(None, lambda: held)
    try:
        open_files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        assert limits.capacity == open_files - RESERVED_FILES
        held = open_files - LAST_FILES - 10
        assert limits.has_room(10)
        assert not limits.has_room(11)
        held = 0
        assert limits.has_room(min(MAX_PENDING, open_files - LAST_FILES))
        assert not limits.has_room(MAX_PENDING + 1)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


PROGRAM = """
import json, resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (100, int(sys.argv[1])))
from wsctl.server.listening.limits import raise_open_files
print(json.dumps([raise_open_files(), raise_open_files(), *resource.getrlimit(resource.RLIMIT_NOFILE)]))
"""


@pytest.mark.parametrize("hard", [100, 300])
def test_the_soft_limit_is_raised_to_the_hard_one(hard: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(hard)],
        capture_output=True,
        check=True,
        text=True,
        timeout=DEADLINE,
    )
    assert json.loads(done.stdout) == [hard] * 4
