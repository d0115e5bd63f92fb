"""The watch on the code of an application."""

import asyncio
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.server import DEADLINE
from wsctl.errors import CannotStart
from wsctl.server.reload import MAX_NAMED, SourceWatch, _names, watch_sources

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
