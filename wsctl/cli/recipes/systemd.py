"""Units of systemd. Their directives are those of version 250, which has `%d`, or older."""

import shlex
from collections.abc import Mapping
from dataclasses import replace
from ipaddress import ip_address
from pathlib import PurePosixPath

from wsctl import __version__
from wsctl.addresses import host_port
from wsctl.cli.recipes.deployment import (
    OPTIONAL_SECRETS,
    Place,
    environment,
    flags,
    named_files,
    need_port,
    open_files,
    secret_names,
    stop_time,
)
from wsctl.cli.recipes.journal import FOLDER, STATE, journal_file, service_file
from wsctl.cli.recipes.template import check_writable, command_word, unit_path, unit_word
from wsctl.errors import UsageError
from wsctl.server.diagnostics.stop_time import margin
from wsctl.settings import Settings, flag, variable

PRIVILEGED_PORTS = 1024
"""The lowest port that needs no capability (ip_unprivileged_port_start)."""

_FOLDER = PurePosixPath("/run/wsctl")

_UNSHARED = "# Without --redis the instances share no messages: clients of one do not get those of another."


def service(settings: Settings, place: Place) -> Mapping[str, str]:
    """Return the values of a service with one server."""
    need_port(settings, "a service")
    ports = [settings.admin_port, *([settings.port] if settings.uds is None else [])]
    privileged = any(port is not None and port < PRIVILEGED_PORTS for port in ports)
    folder = _FOLDER if settings.uds is None else _FOLDER / "control"
    journal = service_file(settings)
    kept = replace(settings, journal=str(journal)) if journal else settings
    return _common(settings, place, privileged=privileged) | {
        "unit": "wsctl",
        "instances": "wsctl",
        "folder": str(folder),
        "description": "WebSocket broadcasting (wsctl)",
        "runtime": " ".join(_runtime_folders(settings)),
        "runtime_variable": f"WSCTL_RUNTIME_DIR=%t/{folder.relative_to('/run')}",
        "unshared": "",
        "command": _command(kept, place, []),
        "journal": _describe_journal(place, str(journal)) if journal else "",
        "state": _state_folder(journal) if journal else "",
        "mounts": f"RequiresMountsFor={unit_word(str(journal.parent))}" if journal else "",
    }


def template(settings: Settings, place: Place) -> Mapping[str, str]:
    """Return the values of a service for several servers, each with a port for its name."""
    if settings.uds is not None or settings.fd is not None:
        raise UsageError("the instances of systemd-template differ by their port: no --uds, no --fd")
    if settings.admin_port:
        raise UsageError("--admin-port: the instances of systemd-template cannot share one, leave it out")
    journal = _own_journal(settings)
    shared = replace(settings, port=Settings().port)
    more = [command_word(journal, "--journal=%S/wsctl/%i/")] if journal else []
    return _common(shared, place, privileged=False) | {
        "unit": "wsctl@",
        "instances": "wsctl@8001 wsctl@8002",
        "folder": str(_FOLDER / "8001"),
        "description": "WebSocket broadcasting on port %i (wsctl)",
        "runtime": "wsctl/%i",
        "runtime_variable": "WSCTL_RUNTIME_DIR=%t/wsctl/%i",
        "unshared": "" if settings.redis else _UNSHARED,
        "command": _command(shared, place, ["--port=%i", *more]),
        "journal": _describe_journal(place, f"{FOLDER}/8001/{journal}") if journal else "",
        "state": _state("wsctl/%i") if journal else "",
        "mounts": "",
    }


def _own_journal(settings: Settings) -> str | None:
    """Return the name of the journal's file in each instance's folder; None without a journal.

    Raises:
        UsageError: all instances would have the same file.
    """
    path = journal_file(settings)
    if path and settings.journal and settings.journal.startswith("/"):
        text = f"--journal {path}: the instances of systemd-template cannot share one"
        raise UsageError(f"{text}; give --journal {path.name}, which each has in a folder of its own")
    return path.name if path else None


def _common(settings: Settings, place: Place, *, privileged: bool) -> dict[str, str]:
    capability = "CAP_NET_BIND_SERVICE" if privileged else ""
    return {
        "version": __version__,
        "made_by": place.made_by,
        "program": _program(place),
        "program_shell": shlex.quote(place.program),
        "delay": f"{settings.drain_delay:g}",
        "timeout": f"{settings.shutdown_timeout:g}",
        "margin": f"{margin(settings):g}",
        "stop_time": str(stop_time(settings)),
        "files": str(open_files(settings)),
        "environment": _environment(settings),
        "credentials": _credentials(settings),
        "capabilities": capability,
        "private_users": "no" if privileged else "yes",  # a capability within is none outside
        "home": _IN_HOME if place.in_home else "",
        "protect_home": "read-only" if place.in_home else "yes",
        # Who connects to a Unix socket must be able to write to it; the control socket has a closed folder.
        "runtime_mode": "0700" if settings.uds is None else "0755",
        "umask": "UMask=0077" if settings.uds is None else "# The proxy is another user.\nUMask=0000",
        "writable": _writable(settings),
    }


_IN_HOME = """# The service's user may be kept out of this home: better have wsctl in a virtual environment
# below /opt."""


def _program(place: Place) -> str:
    if set(place.program) & set("\"'\\"):
        raise UsageError(f"{place.program}: systemd takes no quotes or backslashes in the path of a program")
    # No $ is replaced in it.
    return command_word(place.program).replace("$$", "$")


def _command(settings: Settings, place: Place, more: list[str]) -> str:
    files = named_files(settings)
    apart = (
        *(f"{flag(name)}=" for name in files),
        *(f"{word.partition('=')[0]}=".lstrip('"') for word in more),
    )
    given = [word for word in flags(settings) if not word.startswith(apart)]
    words = [*map(command_word, given), *more, *(f"{flag(name)}=%d/{name}" for name in files)]
    return f"{_program(place)} serve" + "".join(f" \\\n  {word}" for word in words)


def _environment(settings: Settings) -> str:
    pairs = environment(settings).items()
    return "\n".join(f"Environment={unit_word(f'{name}={value}')}" for name, value in pairs)


def _credentials(settings: Settings) -> str:
    given = secret_names(settings)
    lines = [line for name in given for line in _secret(name)]
    lines += [f"# {line}" for name in OPTIONAL_SECRETS if name not in given for line in _secret(name)]
    for name, path in named_files(settings).items():
        lines.append(f"LoadCredential={name}:{unit_path(str(PurePosixPath('/') / path))}")
    return "\n".join(lines)


def _secret(name: str) -> list[str]:
    return [
        f"LoadCredential={name}:/etc/wsctl/{name}",
        f"Environment={variable(name)}_FILE=%d/{name}",
    ]


def _runtime_folders(settings: Settings) -> list[str]:
    """Return the folders below /run that systemd makes; the first one is the control socket's."""
    found = ["wsctl"]
    if settings.uds is not None:
        folder = PurePosixPath(settings.uds).parent
        if folder.parts[:2] == ("/", "run") and len(folder.parts) > 2 and folder != _FOLDER:
            found.append(unit_word("/".join(folder.parts[2:])))
    return found


def _writable(settings: Settings) -> str:
    if settings.uds is None:
        return ""
    folder = PurePosixPath(settings.uds).parent
    if not folder.is_absolute():
        raise UsageError("--uds: a service needs the absolute path")
    inside = folder.parts[:2] == ("/", "run") and len(folder.parts) > 2
    return "" if inside else f"ReadWritePaths={unit_word(str(folder))}"


def _describe_journal(place: Place, path: str) -> str:
    shown = shlex.join([place.program, "journal", path])
    return f"# The journal outlives the service. While that runs, this shows it:\n#   sudo -u wsctl {shown}"


def _state_folder(journal: PurePosixPath) -> str:
    """Return the directives for the folder of a journal: below /var/lib systemd makes it."""
    folder = journal.parent
    if folder.is_relative_to(STATE):
        return _state(unit_word(str(folder.relative_to(STATE))))
    return f"# It must belong to a user wsctl of this machine.\nReadWritePaths={unit_word(str(folder))}"


def _state(folder: str) -> str:
    return f"StateDirectory={folder}\nStateDirectoryMode=0700"


def socket(settings: Settings, place: Place) -> Mapping[str, str]:
    """Return the values of the socket of a service."""
    need_port(settings, "a socket unit")
    unix = settings.uds is not None
    return {
        "version": __version__,
        "made_by": place.made_by,
        "listen": "\n".join(f"ListenStream={unit_path(each)}" for each in _addresses(settings)),
        "backlog": str(settings.backlog),
        # Its proxy is another user; TCP sends each frame at once.
        "kind": "SocketMode=0666" if unix else "NoDelay=yes",
    }


def _addresses(settings: Settings) -> list[str]:
    if settings.uds is not None:
        check_writable("--uds", settings.uds)
        return [settings.uds]
    hosts = {"": [""], "localhost": ["127.0.0.1", "::1"]}.get(settings.host, [settings.host])
    return [_address(host, settings.port) for host in hosts]


def _address(host: str, port: int) -> str:
    if not host:
        return str(port)  # every address of both families
    try:
        ip_address(host)
    except ValueError:
        raise UsageError(f"--host {host!r}: a socket unit takes an address and no name") from None
    return host_port(host, port)
