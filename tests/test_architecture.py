"""The floors: imports point down, libraries stay in their rooms, and the environment is read at the top."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.support.server import DEADLINE

PACKAGE = Path(__file__).parent.parent / "wsctl"

FACTS = frozenset(
    {
        "messages",
        "frame",
        "codes",
        "settings",
        "redis_url",
        "errors",
        "client_ids",
        "topics",
        "event_stream",
        "origins",
        "addresses",
        "tracing",
    }
)

ABOVE_ALL = ("main", "library", "__main__", "__init__")

LOWER = frozenset({"process", "control", "drain", "hub", "log", "ipc", "facts"})
"""What is below the edges."""

BELOW = {
    "top": {"cli", "server", "stress", "client", "top", *LOWER},
    "cli": {"server", "stress", "client", "version", "cli", *LOWER},
    "server": {"version", "server", *LOWER},
    "stress": {"client", "version", "stress", *LOWER},
    "client": {"version", "client", *LOWER},
    "process": {"drain", "ipc", "facts", "version", "process"},
    "control": {"drain", "facts", "control"},
    "drain": {"facts", "drain"},
    "hub": {"log", "facts", "version", "hub"},
    "log": {"facts", "log"},
    "ipc": {"facts", "ipc"},
    "facts": {"facts"},
}
"""What each floor may import of the package; `version` is the package itself, which loads nothing."""

ROOMS = {
    "typer": {"cli"},
    "rich": {"cli"},
    "prompt_toolkit": {"cli"},
    "fastapi": {"server", "top"},
    "uvicorn": {"server"},
    "starlette": {"server"},
    "h11": {"server", "client.http_connection"},
    "jwt": {"server"},
    "cryptography": {"server"},
    "pydantic": {"server"},
    "redis": {"log.redis"},
    "sqlite3": {"log.journal"},
    "prometheus_client": {"server"},
    "websockets": {"server", "client"},
    "uvloop": {"server", "client", "cli"},
    "watchfiles": {"server"},
    "opentelemetry": {"server"},
}
"""The floors that may import a library, or a room of one."""

LOG_HOMES = {"redis", "journal"}
"""The homes of the log that are rooms of their own: the rest of it does not know of them."""

INPUT_OUTPUT = frozenset({"asyncio", "os", "selectors", "socket", "subprocess", "threading"})
"""What the decisions about a drain do without."""

SERVER_ROOMS = {
    "condition": set(),
    "own_application": set(),
    "credentials": set(),
    "dashboard": set(),
    "http": set(),
    "journal_monitor": set(),
    "logs": set(),
    "page": set(),
    "home_notifier": set(),
    "sharing": set(),
    "ticker": set(),
    "diagnostics": {"credentials"},
    "drainable": set(),
    "drain_driver": {"condition", "drainable"},
    "websocket": {"credentials", "http"},
    "event_stream": {"http", "websocket"},
    "client_paths": set(),
    "client_acceptor": {"client_paths", "event_stream", "http", "websocket"},
    "asgi": {"http", "websocket"},
    "asyncapi": {"websocket"},
    "handover": {"condition", "credentials", "drain_driver", "event_stream", "http", "websocket"},
    "batch_window": {"condition"},
    "message_publisher": {"batch_window"},
    "listening": {"client_acceptor", "condition", "credentials", "http", "message_publisher", "websocket"},
    "connection_age": set(),
    "tracing": set(),
    "history_listing": set(),
    "topic_list": set(),
    "status_reporter": {"drain_driver", "journal_monitor", "sharing", "topic_list"},
    "checks": {"diagnostics", "listening"},
    "metrics": {"http", "journal_monitor", "sharing", "status_reporter", "websocket"},
    "node": {
        "connection_age",
        "tracing",
        "asgi",
        "credentials",
        "dashboard",
        "drain_driver",
        "drainable",
        "home_notifier",
        "http",
        "journal_monitor",
        "listening",
        "sharing",
        "status_reporter",
        "ticker",
        "websocket",
    },
    "node_control": {
        "batch_window",
        "history_listing",
        "dashboard",
        "drain_driver",
        "message_publisher",
        "metrics",
        "node",
        "sharing",
        "status_reporter",
        "websocket",
    },
    "openapi": {"asyncapi", "metrics"},
    "api": {"credentials", "dashboard", "message_publisher", "metrics", "node", "node_control", "page"},
    "dashboard_routes": {"api", "dashboard", "event_stream", "page"},
    "app": {
        "api",
        "asyncapi",
        "dashboard",
        "dashboard_routes",
        "event_stream",
        "http",
        "node",
        "node_control",
        "openapi",
        "own_application",
        "page",
        "websocket",
    },
    "workers": {
        "condition",
        "credentials",
        "dashboard",
        "diagnostics",
        "http",
        "journal_monitor",
        "listening",
        "logs",
        "metrics",
        "drain_driver",
        "history_listing",
        "status_reporter",
        "node_control",
    },
    "admin_address": {"client_acceptor", "diagnostics", "http", "listening", "websocket"},
    "served_application": {"asgi", "client_acceptor", "condition", "http", "listening", "node", "websocket"},
    "reload": {"handover"},
    "runner": {
        "admin_address",
        "client_acceptor",
        "client_paths",
        "credentials",
        "diagnostics",
        "handover",
        "http",
        "listening",
        "node",
        "node_control",
        "reload",
        "own_application",
        "served_application",
        "websocket",
        "workers",
    },
    "starters": {"handover", "workers"},
    "embedded": {"app", "diagnostics", "logs", "node", "openapi"},
    "library": {
        "app",
        "asgi",
        "client_paths",
        "embedded",
        "event_stream",
        "http",
        "node",
        "node_control",
        "websocket",
    },
    "server_process": {
        "admin_address",
        "app",
        "asgi",
        "client_paths",
        "credentials",
        "dashboard",
        "diagnostics",
        "handover",
        "http",
        "library",
        "listening",
        "node",
        "node_control",
        "reload",
        "own_application",
        "runner",
        "served_application",
        "websocket",
        "workers",
    },
}
"""The rooms of the server, and its modules that are in none, from the bottom up: what each may import of the
server beside itself, all of which stands above it here."""

Sources = Mapping[str, str]


def sources() -> dict[str, str]:
    """The text of every module of the package, by its dotted name."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = path.read_text()
    return found


def code_of(module: str, source: str) -> ast.Module:
    """The code of a module. What the front of the library shows only to type checkers is not run, and counts
    as little: it names modules of all floors, which are loaded when somebody uses them."""
    tree = ast.parse(source)
    if module == "wsctl":
        tree.body = [node for node in tree.body if not _is_for_type_checkers(node)]
    return tree


def _is_for_type_checkers(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def floor(module: str) -> str:
    """On which floor a module of the package is."""
    if module == "wsctl":
        return "version"
    first = module.split(".")[1]
    return "facts" if first in FACTS else "top" if first in ABOVE_ALL else first


def room(module: str) -> str:
    """The room of a floor, or the module on it that is in none."""
    return module.split(".")[2] if module.count(".") > 1 else ""


def statements(within: ast.AST) -> Iterator[ast.AST]:
    """All statements in a piece of code, however deep. What else is in them is a hundred times as much."""
    for part in ("body", "handlers", "orelse", "finalbody", "cases"):
        for statement in getattr(within, part, ()):
            yield statement
            yield from statements(statement)


def imports(module: str, source: str, modules: Sources) -> Iterator[str]:
    """What a module imports, wherever in it: `from a import b` is a.b where that is a module."""
    for node in statements(code_of(module, source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                # The name of a package's own module lacks its __init__.
                is_package = any(name.startswith(f"{module}.") for name in modules)
                above = [*module.split("."), "__init__"][: -node.level - (not is_package)]
                base = ".".join([*above, base] if base else above)
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                yield inner if inner in modules or (base == "wsctl" and alias.name != "__version__") else base


def complaints(modules: Sources) -> list[str]:
    """Every way in which some modules break the house's rules."""
    graph = {name: sorted(set(imports(name, text, modules))) for name, text in modules.items()}
    found = [text for name in graph for imported in graph[name] for text in _about(name, imported)]
    found += [f"{name} reads the environment" for name in modules if _reads_environment(name, modules[name])]
    return found + [f"a cycle: {' -> '.join(cycle)}" for cycle in _cycles(graph)]


def _about(module: str, imported: str) -> Iterator[str]:
    at, library = floor(module), imported.split(".", maxsplit=1)[0]
    if library == "wsctl":
        allowed = BELOW.get(at, set())
        if floor(imported) not in allowed:
            yield f"{module} ({at}) imports {imported} ({floor(imported)})"
        elif at == floor(imported) == "server" and not _room_allows(room(module), room(imported)):
            yield f"{module} imports {imported}, which SERVER_ROOMS does not allow"
        elif at == floor(imported) == "log" and room(imported) in LOG_HOMES - {room(module)}:
            yield f"{module} imports {imported}, which is one of the log's homes"
    elif at in ("facts", "version") and library not in sys.stdlib_module_names:
        yield f"{module} imports {imported}, which is not in the standard library"
    elif at == "drain" and library in INPUT_OUTPUT:
        yield f"{module} imports {imported}, though it decides without I/O"
    elif library in ROOMS and not ROOMS[library] & {at, f"{at}.{room(module)}"}:
        yield f"{module} imports {imported} outside {', '.join(sorted(ROOMS[library]))}"


def _room_allows(importing: str, imported: str) -> bool:
    return importing == imported or imported in {"", *SERVER_ROOMS.get(importing, ())}


def _reads_environment(module: str, source: str) -> bool:
    if floor(module) in ("cli", "top"):
        return False
    forbidden = {"environ", "environb", "getenv", "getenvb", "putenv"}
    if not any(name in source for name in forbidden):
        return False
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.value.id == "os" and node.attr in forbidden:
                return True
        elif isinstance(node, ast.ImportFrom) and node.module == "os":
            taken = {alias.name for alias in node.names}
            if taken & forbidden:
                return True
    return False


def _cycles(graph: Mapping[str, list[str]]) -> Iterator[list[str]]:
    """The first cycle that each module is met on, once."""
    done: set[str] = set()

    def walk(module: str, path: list[str]) -> Iterator[list[str]]:
        if module in path:
            yield [*path[path.index(module) :], module]
        elif module in graph and module not in done:
            for imported in graph[module]:
                yield from walk(imported, [*path, module])
            done.add(module)

    for module in graph:
        yield from walk(module, [])


def test_the_house_keeps_its_rules() -> None:
    modules = sources()
    assert {"wsctl.messages", "wsctl.cli.app", "wsctl.server.websocket.wire", "wsctl.log.redis.tail"} <= set(
        modules
    )
    assert complaints(modules) == []


FINE = {
    "wsctl": "__version__ = '1'",
    "wsctl.main": "import os\nfrom wsctl.server.app import app\nos.environ",
    "wsctl.messages": "import json",
    "wsctl.codes": "from enum import IntEnum",
    "wsctl.hub.manager": "from wsctl.log.message_log import MessageLog\nfrom wsctl import codes, __version__",
    "wsctl.log.message_log": "from wsctl.messages import Message\nfrom wsctl import codes",
    "wsctl.log.redis.client": "import redis\nfrom wsctl.log.message_log import MessageLog",
    "wsctl.ipc.channel": "import asyncio\nfrom wsctl.errors import CannotStart",
    "wsctl.drain.graceful": "import logging\nfrom wsctl.codes import ExitCode",
    "wsctl.control.status": "from wsctl.drain.phases import Phase",
    "wsctl.process.job": "from wsctl.drain import phases\nfrom wsctl.ipc import channel",
    "wsctl.server.app": "import fastapi\nfrom wsctl.process.job import Job",
    "wsctl.server.checks": "from wsctl.server.diagnostics.finding import ok",
    "wsctl.server.diagnostics.finding": "import logging",
    "wsctl.client.session": "from websockets.asyncio import client\nfrom wsctl import messages",
    "wsctl.stress.stress_run": "from wsctl.client.session import Session",
    "wsctl.cli.app": "import os, typer\nfrom wsctl.server import app\nos.environ.get('X')",
}


def test_what_a_room_of_the_server_imports_stands_above_it() -> None:
    listed = list(SERVER_ROOMS)
    for at, (name, allowed) in enumerate(SERVER_ROOMS.items()):
        assert allowed <= set(listed[:at]), name


def test_a_house_in_order_has_no_complaints() -> None:
    assert complaints(FINE) == []


def test_the_front_of_the_library_shows_names_to_type_checkers_alone() -> None:
    shown = "from wsctl.client.session import Session"
    lazy = f"__version__ = '1'\nif TYPE_CHECKING:\n    {shown}"
    assert complaints(FINE | {"wsctl": lazy}) == []
    assert complaints(FINE | {"wsctl": shown})
    assert complaints(FINE | {"wsctl": f"def f():\n    {shown}"})


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("wsctl.messages", "from wsctl.log.message_log import MessageLog"),
        ("wsctl.messages", "from wsctl import hub"),
        ("wsctl.log.message_log", "from wsctl.process.job import Job"),
        ("wsctl.log.message_log", "from wsctl.process import job"),
        ("wsctl.log.message_log", "from ..process import job"),
        ("wsctl.log.message_log", "import wsctl.server.app"),
        ("wsctl.log.message_log", "from wsctl.ipc.channel import Channel"),
        ("wsctl.log.message_log", "from wsctl.hub.manager import ConnectionManager"),
        ("wsctl.log.message_log", "from wsctl.log.redis.session import RedisSession"),
        ("wsctl.log.history", "def later():\n    from wsctl.log.redis import client"),
        ("wsctl.log.message_log", "from wsctl.log.journal.file import JournalFile"),
        ("wsctl.log.message_log", "import sqlite3"),
        ("wsctl.hub.manager", "from wsctl.process.job import Job"),
        ("wsctl.ipc.channel", "from wsctl.log.message_log import MessageLog"),
        ("wsctl.drain.graceful", "from wsctl.log.message_log import MessageLog"),
        ("wsctl.drain.graceful", "from wsctl.ipc.channel import Channel"),
        ("wsctl.control.status", "from wsctl.log.message_log import MessageLog"),
        ("wsctl.control.status", "from wsctl.server import app"),
        ("wsctl.drain.graceful", "from wsctl.control.status import ServerStatus"),
        ("wsctl.process.job", "def later():\n    from wsctl.server import app"),
        ("wsctl.process.job", "from wsctl import client"),
        ("wsctl.server.app", "from wsctl.cli import app"),
        ("wsctl.server.app", "from wsctl.main import app"),
        ("wsctl.server.app", "from wsctl.client.session import Session"),
        ("wsctl.server.credentials.keys", "from wsctl.server.http.host_header import AllowedHosts"),
        ("wsctl.server.diagnostics.startup", "from wsctl.server.workers import parent"),
        ("wsctl.server.diagnostics.startup", "from wsctl.server.checks import run_checks"),
        ("wsctl.server.checks", "from wsctl.server.server_process import serve"),
        ("wsctl.server.runner", "from wsctl.server.checks import run_checks"),
        ("wsctl.server.workers.parent", "import wsctl.server.checks"),
        ("wsctl.server.workers.parent_link", "from wsctl.server.node import Node"),
        ("wsctl.server.websocket.wire", "from wsctl.server.handover.mover import ConnectionMover"),
        ("wsctl.server.websocket.inbound", "from wsctl.server.listening.listeners import Listeners"),
        ("wsctl.server.http.proxy", "from wsctl.server.websocket.wire import Wire"),
        ("wsctl.server.listening.listeners", "from wsctl.server.node import Node"),
        ("wsctl.server.handover.mover", "from wsctl.server.node import Node"),
        ("wsctl.server.node", "from wsctl.server.metrics.facts import families"),
        ("wsctl.server.in_no_room", "from wsctl.server.credentials import keys"),
        ("wsctl.client.session", "from wsctl.server.app import app"),
        ("wsctl.client.session", "if True:\n    import wsctl.server"),
        ("wsctl.client.session", "from wsctl.stress.stress_run import StressRun"),
        ("wsctl.stress.stress_run", "from wsctl.server.app import app"),
        ("wsctl.stress.stress_run", "from wsctl.cli.app import app"),
    ],
)
def test_an_import_that_points_up_or_across_is_found(module: str, source: str) -> None:
    assert [text for text in complaints(FINE | {module: source}) if not text.startswith("a cycle")]


@pytest.mark.parametrize(
    ("module", "library"),
    [
        ("wsctl.messages", "websockets"),
        ("wsctl.codes", "anything_not_of_python"),
        ("wsctl.drain.graceful", "asyncio"),
        ("wsctl.drain.graceful", "os"),
        ("wsctl.control.status", "pydantic"),
        ("wsctl.hub.manager", "redis"),
        ("wsctl.log.message_log", "redis.asyncio"),
        ("wsctl.log.message_log", "uvloop"),
        ("wsctl.log.message_log", "websockets.frames"),
        ("wsctl.process.job", "rich.console"),
        ("wsctl.process.job", "uvicorn"),
        ("wsctl.server.app", "typer"),
        ("wsctl.server.app", "prompt_toolkit"),
        ("wsctl.client.session", "fastapi"),
        ("wsctl.client.session", "h11"),
        ("wsctl.stress.stress_run", "websockets"),
        ("wsctl.cli.app", "starlette.responses"),
        ("wsctl.cli.app", "pydantic"),
        ("wsctl.cli.app", "websockets"),
    ],
)
def test_a_library_outside_its_room_is_found(module: str, library: str) -> None:
    for source in (f"import {library}", f"def f():\n    from {library} import x"):
        assert len(complaints(FINE | {module: source})) == 1


@pytest.mark.parametrize(
    "source",
    ["import os\nos.environ['A']", "from os import environ", "import os\ndef f():\n    os.getenv('A')"],
)
@pytest.mark.parametrize("module", ["wsctl.messages", "wsctl.process.job", "wsctl.server.app"])
def test_reading_the_environment_below_the_top_is_found(module: str, source: str) -> None:
    assert complaints(FINE | {module: source}) == [f"{module} reads the environment"]


def test_a_cycle_is_found_once() -> None:
    cycle = {
        "wsctl.hub.a": "from wsctl.hub.b import x",
        "wsctl.hub.b": "from wsctl.hub import c",
        "wsctl.hub.c": "def f():\n    from wsctl.hub import a",
    }
    assert complaints(cycle) == ["a cycle: wsctl.hub.a -> wsctl.hub.b -> wsctl.hub.c -> wsctl.hub.a"]


HELP = """
import json, os, sys
from wsctl.cli.app import run

def loaded():
    return sorted({"fastapi", "uvicorn", "websockets", "redis", "asyncio", "jwt"} & set(sys.modules))

heavy = loaded()
for words in json.loads(sys.argv[1]):
    sys.stdout.flush()
    if not os.fork():
        code = run([*words, "--help"])
        print([*words, code, loaded()])
        sys.stdout.flush()
        os._exit(0)
    os.wait()
sys.exit(str(heavy))
"""
"""A process that has only what every command loads. Each help is shown by a child of its, which says what is
loaded then."""

COMMANDS = [
    (),
    ("serve",),
    ("check",),
    ("client",),
    ("broadcast",),
    ("status",),
    ("disconnect",),
    ("dashboard",),
    ("drain",),
    ("upgrade",),
    ("stress",),
    ("token",),
    ("journal",),
    ("generate",),
    ("docs",),
    ("completions",),
]


def test_help_loads_no_framework(environ: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", HELP, json.dumps(COMMANDS)],
        env=environ,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    assert done.stderr == "[]\n"
    shown = done.stdout.splitlines()
    assert [line for line in shown if line.endswith("0, []]")] == [str([*c, 0, []]) for c in COMMANDS]
    assert sum("Usage: wsctl" in line for line in shown) == len(COMMANDS)


def test_every_command_has_its_help_tested() -> None:
    from wsctl.cli.app import app

    tested = {command[0] for command in COMMANDS if command}
    assert {getattr(info.callback, "__name__", "") for info in app.registered_commands} == tested
