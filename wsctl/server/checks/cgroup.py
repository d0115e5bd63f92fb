"""The limits of the control group that this process is in, of either version."""

from pathlib import Path, PurePosixPath

from wsctl.server.checks.numbers import number

SELF = Path("/proc/self/cgroup")
ROOT = Path("/sys/fs/cgroup")

NO_LIMIT = 1 << 60
"""The least number that stands for no limit: version 1 says so with the largest number of whole pages."""


def memory_limit(groups: Path = SELF, root: Path = ROOT) -> int | None:
    """Return the bytes that all processes of the group may have; None: no limit is known."""
    return _least(groups, root, "memory", ("memory.max", "memory.limit_in_bytes"))


def process_limit(groups: Path = SELF, root: Path = ROOT) -> int | None:
    """Return the processes and threads that the group may have; None: no limit is known."""
    return _least(groups, root, "pids", ("pids.max",))


def _least(groups: Path, root: Path, controller: str, files: tuple[str, ...]) -> int | None:
    """Return the tightest limit of a group and those around it; None: no limit is known. Inside a container
    the path of the group is the host's, and the container's own group is the root of what is mounted."""
    found = []
    for folder, path in _mounts(groups, root, controller):
        inside = PurePosixPath(path.lstrip("/"))
        for at in (inside, *inside.parents):
            found += [limit for file in files if (limit := number(folder / at / file)) is not None]
    limits = [limit for limit in found if limit < NO_LIMIT]
    return min(limits) if limits else None


def _mounts(groups: Path, root: Path, controller: str) -> list[tuple[Path, str]]:
    """Return where the files of a controller are: its folder, and the path of the group below that."""
    try:
        lines = [line.split(":", 2) for line in groups.read_text().splitlines()]
    except OSError:
        return []
    mounts = []
    for _, controllers, path in (line for line in lines if len(line) == 3):
        if not controllers:
            mounts.append((root, path))
        elif controller in controllers.split(","):
            mounts.append((root / controller, path))
    return mounts
