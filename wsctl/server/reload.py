"""The reload of an application whose code has changed: a watch on its files, and a handover for each change.

The processes of the chain watch one after the other: each from before it imports the application until it has
handed over, so that no change falls between two of them.
"""

import asyncio
import logging
import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from wsctl.drain.graceful import NotDraining
from wsctl.drain.pace import RELOAD
from wsctl.drain.progress import HandoverProgress, HandoverState
from wsctl.errors import CannotStart, package
from wsctl.server.handover.predecessor import Predecessor

STEP = 50
"""Milliseconds without another change after which the changes so far are one: watchfiles' own default."""

DEBOUNCE = 1600
"""Milliseconds that changes are gathered for at most, while more of them come: watchfiles' own default."""

POLL_DELAY = 300
"""Milliseconds between two looks where the file system tells of no changes: watchfiles' own default."""

FORCE_POLLING = "WATCHFILES_FORCE_POLLING"
"""The variable of watchfiles that has it look at all files again and again, as some mounted folders need."""

MAX_NAMED = 3
"""Changed files that are named in a line."""

log = logging.getLogger("wsctl.reload")


class SourceWatch:
    """A watch on the Python files below some folders, from when it is made on. As with uvicorn, those whose
    names begin with `.` or `~` do not count, which are an editor's own.

    Attributes:
        folders: what is watched.

    Raises:
        CannotStart: watchfiles is not installed, there is no such folder, or it cannot be watched.
    """

    def __init__(self, folders: Sequence[Path], *, polling: bool = False) -> None:
        try:
            from watchfiles._rust_notify import RustNotify, WatchfilesRustInternalError
        except ImportError:
            raise CannotStart(f"--reload needs {package('watchfiles', 'reload')}") from None
        if missing := next((folder for folder in folders if not folder.is_dir()), None):
            raise CannotStart(f"--reload-dir {missing}: there is no such folder")
        self.folders = folders
        self._over = threading.Event()
        try:
            self._notify = RustNotify(
                [str(folder) for folder in folders], False, polling, POLL_DELAY, True, True
            )
        except (OSError, WatchfilesRustInternalError) as error:
            raise CannotStart(f"--reload: the files cannot be watched: {error}") from None

    async def changed(self) -> list[Path]:
        """Wait for changes; return the files in the order of their names, none when the watch was closed.
        What changes between two calls is not lost."""
        while not self._over.is_set():
            found = await asyncio.to_thread(self._notify.watch, DEBOUNCE, STEP, 0, self._over)
            files = {Path(path) for _, path in found} if isinstance(found, set) else set()
            if sources := sorted(filter(_is_source, files)):
                return sources
        return []

    def close(self) -> None:
        """End the watch."""
        self._over.set()


class Reloader:
    """Hands the server over to a fresh process when files of `sources` have changed. `predecessor_gone` is
    set when the process before this one has ended, of which there can be one at a time; None in the first."""

    def __init__(
        self, sources: SourceWatch, handover: Predecessor, predecessor_gone: asyncio.Event | None
    ) -> None:
        self._sources = sources
        self._handover = handover
        self._predecessor_gone = predecessor_gone

    async def run(self) -> None:
        """Reload at each change until a successor serves: that one watches then."""
        try:
            while not self._handover.leaving:
                files = await self._sources.changed()
                await self._until_free()
                if not self._handover.leaving:
                    await self._reload(_names(files, self._sources.folders))
        except Exception:
            log.exception("the code is not watched any more")
        finally:
            self._sources.close()

    async def _until_free(self) -> None:
        """Wait until no handover is under way, neither to this process nor from it."""
        if self._predecessor_gone:
            await self._predecessor_gone.wait()
        while self._handover.under_way:
            await self._handover.wait_until_over()

    async def _reload(self, files: str) -> None:
        try:
            self._handover.begin("reload", RELOAD)
        except NotDraining as error:
            _log_failure(files, str(error))
            return
        await self._handover.wait_until_over()
        progress = self._handover.progress()
        if progress and progress.state is HandoverState.DONE:
            _log_success(files, progress)
        else:
            _log_failure(files, progress.error if progress else None)


def watch_sources(folders: Sequence[str], app_dir: str, environ: Mapping[str, str]) -> SourceWatch:
    """Watch these folders; where there are none this one and `app_dir`, from which an application is
    imported.

    Raises:
        CannotStart: they cannot be watched.
    """
    found = [Path(folder).resolve() for folder in folders or ("", app_dir)]
    within = {folder for folder in found for other in found if other in folder.parents}
    polling = environ.get(FORCE_POLLING, "").lower() not in {"", "false", "disable", "disabled"}
    return SourceWatch([f for f in dict.fromkeys(found) if f not in within], polling=polling)


def _is_source(path: Path) -> bool:
    return path.suffix == ".py" and not path.name.startswith((".", "~"))


def _names(files: Sequence[Path], folders: Sequence[Path]) -> str:
    """Return the names of the first few files, as they are in the folders that are watched."""
    names = [_name(path, folders) for path in files[:MAX_NAMED]]
    more = [f"{len(files) - MAX_NAMED} more"] if len(files) > MAX_NAMED else []
    return ", ".join([*names, *more])


def _name(path: Path, folders: Sequence[Path]) -> str:
    folder = next((folder for folder in folders if folder in path.parents), None)
    return os.path.relpath(path, folder) if folder and len(folders) == 1 else str(path)


def _log_success(files: str, progress: HandoverProgress) -> None:
    fields = {"files": files, "elapsed_s": progress.elapsed_s}
    log.info("reloaded", extra={"fields": fields})


def _log_failure(files: str, why: str | None) -> None:
    """Log one line, and below it the last lines of the traceback if code has failed."""
    cause, _, details = (why or "it is not known why").partition("\n")
    fields = {"files": files, "why": cause}
    log.warning("not reloaded, the old code serves", extra={"fields": fields, "details": details})
