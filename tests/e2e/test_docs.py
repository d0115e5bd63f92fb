"""What the manual tells to do can be done: its blocks are run against real servers."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import StartStore
from tests.support.manual import Block, blocks, pages
from tests.support.programs import need
from tests.support.reader import Reader
from wsctl.process.registry import running_servers

PAGES = pages()

LEAST_RUN = 0.75
"""Of the blocks that could be run, how many are: what opts out is the exception."""


def runnable(name: str) -> list[Block]:
    return [block for block in blocks(name, PAGES[name]) if block.language in Reader.LANGUAGES]


@pytest.fixture
def reader(tmp_path: Path, environ: dict[str, str], start_store: StartStore) -> Iterator[Reader]:
    reader = Reader(tmp_path, environ, {"6379": str(start_store().port)})
    yield reader
    reader.close()


def test_the_quickstart_can_be_followed(reader: Reader, runtime_dir: Path) -> None:
    need("curl")
    reader.read(runnable("quickstart"))
    # Its last step ends the server, also the one that an upgrade started.
    assert not running_servers(runtime_dir)


def test_the_programs_in_python_run(reader: Reader) -> None:
    reader.read(runnable("python"))


def test_the_examples_run(reader: Reader) -> None:
    need("curl", "node", "openssl")
    reader.read(runnable("examples"))


def test_topics_can_be_tried_out(reader: Reader) -> None:
    need("curl", "openssl")
    reader.read(runnable("topics"))


def test_a_journal_can_be_kept_looked_at_and_copied(reader: Reader) -> None:
    need("sqlite3")
    reader.read(runnable("log"), cold=True)


def test_most_blocks_are_run() -> None:
    all_of_them = [
        block for name in ("quickstart", "examples", "python", "topics", "log") for block in runnable(name)
    ]
    run = [block for block in all_of_them if "by-hand" not in block.words]
    assert len(run) >= LEAST_RUN * len(all_of_them)
    assert len(run) > 20
