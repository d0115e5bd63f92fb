"""Applications drain with their own clients, which need to know nothing of wsctl.

`python -m tests.apps` does the same with the libraries whose installation takes longer than the tests.
"""

import re
import subprocess
import sys
from dataclasses import replace

import pytest

from tests.apps import __main__ as program
from tests.apps.cases import CASES, Case
from tests.apps.scenarios import drain, upgrade
from tests.support.processes import lending
from tests.support.programs import need_libraries
from tests.support.server import DEADLINE

pytestmark = pytest.mark.anyio

HERE = [case for case in CASES if not case.extra]

each_case = pytest.mark.parametrize("case", HERE, ids=[case.name for case in HERE])


@each_case
async def test_clients_stay_and_talk_until_they_leave_or_the_deadline_comes(case: Case) -> None:
    need_libraries(case.library, "httpx-sse")
    await drain(case)


@each_case
async def test_an_upgrade_leaves_clients_to_the_old_process_and_gives_new_ones_to_the_new_one(
    case: Case,
) -> None:
    need_libraries(case.library, "httpx-sse")
    await upgrade(case)


def test_the_program_prints_a_table() -> None:
    command = [sys.executable, "-m", "tests.apps", "--here", "--only", "Starlette WebSocket"]
    done = subprocess.run(
        command, env=lending(), capture_output=True, text=True, timeout=3 * DEADLINE, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"Starlette WebSocket +starlette \d\S+ +ok +ok", done.stdout), done.stdout


def test_the_program_fails_where_a_library_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    missing = replace(HERE[0], name="Nothing", library="there-is-no-such-library")
    assert program.run([missing]) == 1
    printed = capsys.readouterr()
    assert "there-is-no-such-library is missing" in printed.out
    assert "pip install -e '.[test,apps]'" in printed.err


def test_a_missing_library_is_a_skip_with_its_reason_and_a_failure_in_ci(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="not installed: there-is-no-such-library"):
        need_libraries("starlette", "there-is-no-such-library")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="not installed: there-is-no-such-library"):
        need_libraries("there-is-no-such-library")
