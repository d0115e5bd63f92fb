"""The front of the library: its names, what they load, and that they can be read and typed."""

import ast
import inspect
import pydoc
import re
import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path

import pytest

import wsctl
from tests.support.linters import check_types
from tests.support.manual import blocks, pages
from tests.support.server import DEADLINE

ROOT = Path(__file__).parent.parent
FRONT = ast.parse((ROOT / "wsctl" / "__init__.py").read_text())

EDGES = {"fastapi", "starlette", "uvicorn", "h11", "uvloop", "pydantic", "redis", "jwt", "prometheus_client"}
PEOPLE = {"typer", "rich", "prompt_toolkit", "click"}


def loaded_by(statement: str) -> set[str]:
    """The modules that a statement loads in a fresh Python."""
    code = f"import sys; before = set(sys.modules); {statement}; print(*(set(sys.modules) - before))"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, check=True)
    return set(done.stdout.split())


def test_importing_the_package_loads_nothing_else() -> None:
    assert loaded_by("import wsctl") == {"wsctl"}


def test_the_client_loads_no_server_and_no_command() -> None:
    loaded = loaded_by("from wsctl import connect")
    assert {"wsctl.client.stream", "websockets"} <= loaded
    assert loaded & (EDGES | PEOPLE) == set()
    rooms = {name.split(".")[1] for name in loaded if name.startswith("wsctl.")}
    assert rooms & {"cli", "main", "server", "hub", "log", "control", "ipc", "stress"} == set()


def test_an_event_or_a_message_loads_no_connection() -> None:
    assert "websockets" not in loaded_by("from wsctl import Lost, Message")


@pytest.mark.parametrize("name", sorted({*wsctl.__all__} - {"StreamEvent"}))
def test_each_public_name_is_there_and_says_what_it_is(name: str) -> None:
    thing = getattr(wsctl, name)
    assert (thing.__name__, thing.__module__) == (name, wsctl._MODULES[name])
    assert name in dir(wsctl)
    said = thing.__doc__.splitlines()[0]
    assert said in pydoc.render_doc(f"wsctl.{name}", renderer=pydoc.plaintext)


def test_the_union_of_all_events_is_public_too() -> None:
    members = {kind.__name__ for kind in wsctl.StreamEvent.__args__}
    assert members < set(wsctl.__all__)
    assert "StreamEvent" in dir(wsctl)


def test_type_checkers_see_the_names_that_are_loaded() -> None:
    (block,) = [node for node in FRONT.body if isinstance(node, ast.If)]
    seen = {
        alias.name: node.module
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert seen == wsctl._MODULES
    assert sorted(seen) == sorted(wsctl.__all__) == wsctl.__all__


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'wsctl' has no attribute 'conect'"):
        _ = wsctl.conect
    with pytest.raises(ImportError):
        exec("from wsctl import conect")


def test_help_tells_the_arguments() -> None:
    text = pydoc.render_doc(wsctl.connect, renderer=pydoc.plaintext)
    for argument in ("url", "id", "since", "token", "on_event", "receive", "timeout"):
        assert f"    {argument}: " in text


def test_each_public_name_is_in_a_program_of_the_manual_that_is_run() -> None:
    run = [
        block
        for page, text in pages().items()
        for block in blocks(page, text)
        if "by-hand" not in block.words
    ]
    programs = [block.text for block in run if block.language == "python"]
    used = {name for text in programs for name in re.findall(r"\w+", text)}
    assert {*wsctl.__all__} <= used


def test_the_example_of_connect_is_the_first_program_of_the_manual() -> None:
    first = next(block.text for block in blocks("python", pages()["python"]) if block.language == "python")
    assert textwrap.indent(first, "    ") in inspect.cleandoc(wsctl.connect.__doc__ or "") + "\n"


PROGRAM = """
from wsctl import Lost, NotConnected, connect
import wsctl

async def main() -> None:
    async with connect("http://127.0.0.1:8000", id="bob", token=lambda: "x", on_event=told) as messages:
        await messages.publish("hello")
        async for m in messages:
            reveal_type(m)
            reveal_type(m.id)

def told(event: wsctl.StreamEvent) -> None:
    if isinstance(event, Lost):
        reveal_type(event.newest)

connect("http://127.0.0.1:8000")
"""


def test_a_program_is_type_checked(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    complaints = check_types(tmp_path, "program.py")
    told = [line.partition(": ")[2] for line in complaints.splitlines()]
    assert told[:4] == [
        'note: Revealed type is "wsctl.messages.Message"',
        'note: Revealed type is "str"',
        'note: Revealed type is "str"',
        'error: Missing named argument "id" for "connect"  [call-arg]',
    ], complaints


def test_the_wheel_says_that_it_is_typed(tmp_path: Path) -> None:
    from hatchling.builders.wheel import WheelBuilder

    wheel = next(WheelBuilder(str(ROOT)).build(directory=str(tmp_path)))
    with zipfile.ZipFile(wheel) as files:
        names = set(files.namelist())
    assert {"wsctl/py.typed", "wsctl/__init__.py", "wsctl/client/stream.py", "wsctl/docs/python.md"} <= names
