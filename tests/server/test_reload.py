"""The watch on the code of an application."""

import asyncio
import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.server import DEADLINE
from wsctl.drain.graceful import NotDraining
from wsctl.drain.progress import HandoverProgress, HandoverState
from wsctl.errors import CannotStart
from wsctl.server.condition import Condition
from wsctl.server.reload import MAX_NAMED, Reloader, SourceWatch, _names, watch_sources

pytestmark = pytest.mark.anyio

Watch = Callable[..., SourceWatch]


@pytest.fixture
def watch(tmp_path: Path) -> Iterator[Watch]:
    """Watch the test's folder, to the end of the test at most."""
    with ExitStack() as stack:

        def begin(environ: Mapping[str, str] | None = None) -> SourceWatch:
            begun = watch_sources([str(tmp_path)], "", environ or {})
            stack.callback(begun.close)
            return begun

        yield begin


async def changed(watching: SourceWatch) -> list[Path]:
    async with asyncio.timeout(DEADLINE):
        return await watching.changed()


async def test_many_files_that_are_saved_at_once_are_one_change(watch: Watch, tmp_path: Path) -> None:
    (tmp_path / "package").mkdir()
    watching = watch()
    files = [tmp_path / "package" / f"module_{n}.py" for n in range(10)]
    for file in files:
        file.write_text("x = 1")
    assert await changed(watching) == files  # also what was saved before anybody waited
    watching.close()
    assert await changed(watching) == []


async def test_only_python_files_count_and_none_of_an_editor(watch: Watch, tmp_path: Path) -> None:
    watching = watch()
    for name in ("notes.txt", "main.pyc", ".#main.py", "~main.py", "main.py~", "main.py"):
        (tmp_path / name).write_text("x = 1")
    assert await changed(watching) == [tmp_path / "main.py"]


async def test_a_file_that_was_changed_removed_or_put_in_the_place_of_another_counts(
    watch: Watch, tmp_path: Path
) -> None:
    main, new = tmp_path / "main.py", tmp_path / "main.new"
    main.write_text("x = 1")
    new.write_text("x = 3")
    watching = watch()
    main.write_text("x = 2")
    assert await changed(watching) == [main]
    new.rename(main)
    assert await changed(watching) == [main]
    main.unlink()
    assert await changed(watching) == [main]


def test_this_folder_and_the_one_of_the_application_are_watched_unless_others_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, beside, below = tmp_path / "here", tmp_path / "beside", tmp_path / "here" / "below"
    for folder in (here, beside, below):
        folder.mkdir()
    monkeypatch.chdir(here)
    assert watch_sources((), "", {}).folders == [here]
    assert watch_sources((), str(beside), {}).folders == [here, beside]
    assert watch_sources((), "below", {}).folders == [here]
    assert watch_sources(("below", "../beside"), "", {}).folders == [below, beside]


async def test_a_file_system_that_tells_of_nothing_is_looked_at_again_and_again(
    watch: Watch, tmp_path: Path
) -> None:
    watching = watch({"WATCHFILES_FORCE_POLLING": "1"})
    assert "Poll" in repr(watching._notify)
    (tmp_path / "main.py").write_text("x = 1")
    assert await changed(watching) == [tmp_path / "main.py"]


def test_a_folder_that_is_missing_is_an_error_of_one_line(tmp_path: Path) -> None:
    with pytest.raises(CannotStart, match=r"^--reload-dir .*/gone: there is no such folder$"):
        SourceWatch([tmp_path / "gone"])


def test_without_watchfiles_the_error_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "watchfiles._rust_notify", None)
    with pytest.raises(CannotStart, match=r"--reload needs the package watchfiles: .*'\.\[reload\]'"):
        SourceWatch([tmp_path])


def test_a_line_names_a_few_files_and_counts_the_others(tmp_path: Path) -> None:
    files = [tmp_path / "a" / f"{n}.py" for n in range(MAX_NAMED + 2)]
    assert _names(files[:1], [tmp_path]) == "a/0.py"
    assert _names(files, [tmp_path]) == "a/0.py, a/1.py, a/2.py, 2 more"
    assert _names(files[:1], [tmp_path, Path("/other")]) == str(files[0])


class Changes:
    """Changes that are made up."""

    folders = (Path("/src"),)

    def __init__(self) -> None:
        self._files: asyncio.Queue[Path] = asyncio.Queue()
        self.closed = False

    def save(self, name: str) -> None:
        self._files.put_nowait(self.folders[0] / name)

    async def changed(self) -> list[Path]:
        return [await self._files.get()]

    def close(self) -> None:
        self.closed = True


class Handovers:
    """The handovers of a server, each of which ends when the test says so."""

    def __init__(self) -> None:
        self.begun: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
        self.obstacle: str | None = None
        self.leaving = self.under_way = False
        self._over = Condition()
        self._progress = HandoverProgress(HandoverState.STARTING, None, 0, 0, 0, 0.0, 0.0, None)

    def begin(self, by: str, reason: str) -> None:
        self.begun.put_nowait((by, reason))
        if self.obstacle:
            raise NotDraining(self.obstacle)
        self.under_way = True

    async def wait_until_over(self) -> None:
        await self._over.wait()

    def progress(self) -> HandoverProgress:
        return self._progress

    def end(self, error: str | None = None) -> None:
        self.under_way, self.leaving = False, error is None
        state = HandoverState.FAILED if error else HandoverState.DONE
        self._progress = HandoverProgress(state, 7, 0, 0, 0, 1.5, 0.0, error)
        self._over.notify_all()


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> pytest.LogCaptureFixture:
    monkeypatch.setattr(logging.getLogger("wsctl"), "propagate", True)
    caplog.set_level(logging.INFO, "wsctl.reload")
    return caplog


async def turn() -> None:
    """Let everything happen that waits for nothing."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_change_waits_for_the_predecessor_and_for_a_handover_under_way() -> None:
    changes, handovers, predecessor_gone = Changes(), Handovers(), asyncio.Event()
    task = asyncio.create_task(Reloader(changes, handovers, predecessor_gone).run())  # type: ignore[arg-type]
    changes.save("main.py")
    await turn()
    assert handovers.begun.empty()
    handovers.under_way = True
    predecessor_gone.set()
    await turn()
    assert handovers.begun.empty()
    handovers.end("the operator's has failed")
    async with asyncio.timeout(DEADLINE):
        assert await handovers.begun.get() == ("reload", "reload")
        handovers.end()
        await task
    assert changes.closed


async def test_after_the_handover_of_an_operator_the_successor_has_what_was_saved_meanwhile() -> None:
    changes, handovers = Changes(), Handovers()
    handovers.under_way = True
    task = asyncio.create_task(Reloader(changes, handovers, None).run())  # type: ignore[arg-type]
    changes.save("main.py")
    await turn()
    handovers.end()
    async with asyncio.timeout(DEADLINE):
        await task
    assert handovers.begun.empty()


async def test_what_fails_is_told_with_the_end_of_its_traceback_and_the_next_change_tries_again(
    logged: pytest.LogCaptureFixture,
) -> None:
    changes, handovers = Changes(), Handovers()
    handovers.obstacle = "the server is draining"
    task = asyncio.create_task(Reloader(changes, handovers, None).run())  # type: ignore[arg-type]
    async with asyncio.timeout(DEADLINE):
        changes.save("main.py")
        await handovers.begun.get()
        handovers.obstacle = None
        changes.save("main.py")
        await handovers.begun.get()
        await turn()
        handovers.end("it cannot be imported\n  File main.py\nNameError: y")
        changes.save("other.py")
        await handovers.begun.get()
        await turn()
        handovers.end()
        await task
    told = [(r.getMessage(), r.fields) for r in logged.records]  # type: ignore[attr-defined]
    assert told == [
        ("not reloaded, the old code serves", {"files": "main.py", "why": "the server is draining"}),
        ("not reloaded, the old code serves", {"files": "main.py", "why": "it cannot be imported"}),
        ("reloaded", {"files": "other.py", "elapsed_s": 1.5}),
    ]
    assert logged.records[1].details == "  File main.py\nNameError: y"  # type: ignore[attr-defined]
