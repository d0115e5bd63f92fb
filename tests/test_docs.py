"""What the manual says is so: its commands, flags, codes, routes, files and links."""

import ast
import json
import re
import tomllib
from functools import cache
from importlib.util import find_spec
from typing import Any

import pytest
import typer
from typer.exceptions import TyperException

from tests.support.command_tree import TREE
from tests.support.fake_journal import FakeHome
from tests.support.manual import FOLDER, blocks, commands, pages, prose, quoted
from wsctl import messages
from wsctl.cli.docs import PAGES, summary
from wsctl.codes import CloseCode, ErrorCode, ExitCode
from wsctl.drain.phases import Phase
from wsctl.server.app import create_app
from wsctl.server.journal_monitor import monitor_journal
from wsctl.server.metrics.facts import families
from wsctl.server.node import Node
from wsctl.server.node_control import sources_of
from wsctl.settings import FLAGS, Settings, variable
from wsctl.topics import matches

ROOT = FOLDER.parents[1]
TEXTS = pages()
SOURCES = {path: path.read_text() for path in (ROOT / "wsctl").rglob("*.py")}

MOST_BYTES = 180_000
"""Of all pages together: they are in every wheel."""

WIDEST_BLOCK = 76
"""Columns of a line in a block: a terminal of 80 shows it unbroken, with the margin rich puts around it."""

LONGEST_SUMMARY = 66
"""Characters of what a page is about: with the page's name before it, a terminal of 80 columns holds it."""

WIDEST_LINE = 80
"""Columns of prose, for whoever reads the file itself; a row of a table cannot be broken."""

SECRET_INTO_A_FILE = re.compile(r"^.*(?:urandom|openssl rand|wsctl token)\b.* > ?\w.*$", re.MULTILINE)

every_page = pytest.mark.parametrize("name", sorted(TEXTS))


def test_the_pages_are_those_that_the_command_offers() -> None:
    assert set(TEXTS) == set(PAGES)
    assert [path.suffix for path in FOLDER.iterdir()] == [".md"] * len(PAGES)


def test_all_of_them_together_are_small() -> None:
    assert sum(len(text.encode()) for text in TEXTS.values()) < MOST_BYTES


@every_page
def test_a_page_fits_a_narrow_terminal(name: str) -> None:
    text = TEXTS[name]
    assert text.startswith(f"# {name.capitalize()}\n\n")
    assert 0 < len(summary(text)) <= LONGEST_SUMMARY
    assert text.split("\n")[3] == ""
    drawn = [line for block in blocks(name, text) for line in block.text.splitlines()]
    assert not [line for line in drawn if len(line) > WIDEST_BLOCK]
    wide = [line for line in prose(text).splitlines() if len(line) > WIDEST_LINE and line[0] != "|"]
    assert not wide


@every_page
def test_every_command_in_a_block_is_one(name: str) -> None:
    found = [(block, words) for block in blocks(name, TEXTS[name]) for words in commands(block.text)]
    wrong = {f"{block}: wsctl {' '.join(words)}": why for block, words in found if (why := complaint(words))}
    assert not wrong


@every_page
def test_every_command_in_the_prose_is_one(name: str) -> None:
    """One with a word in capitals is a pattern: only its names are looked at."""
    for text in quoted(TEXTS[name]):
        for words in commands(text):
            if re.search(r"\b[A-Z]{2,}\b|\.\.\.", text):
                assert words[0] in TREE.commands
                assert flags_in(text) <= flags_of(TREE.commands[words[0]])
            elif words[1:] or words[0] not in TREE.commands:  # the name alone is no command line
                assert (text, complaint(words)) == (text, None)


def test_a_command_that_is_none_is_found() -> None:
    text = "$ A=1 wsctl serve --port 0 &\nx | wsctl cast hi > y; wsctl serve --prt 1\nwsctl drain --timeout x"
    assert [complaint(words) is None for words in commands(text)] == [True, False, False, False]


@every_page
def test_every_flag_and_variable_is_one(name: str) -> None:
    known = flags_of(TREE).union(*(flags_of(command) for command in TREE.commands.values()))
    assert flags_in(prose(TEXTS[name])) <= known
    assert set(re.findall(r"\bWSCTL_\w+", TEXTS[name])) <= variables()


@every_page
def test_every_code_route_and_link_is_one(name: str) -> None:
    text = TEXTS[name]
    numbers = {int(n) for n in re.findall(r"(?<![\d.,-])(10[01]\d|4[45]\d\d)(?![\d,-])", prose(text))}
    assert numbers <= {*CloseCode, 1000, 4000, 4499, 4500, 4999}
    assert set(re.findall(r"\b(GET|POST|PUT|DELETE) (/[^\s`,?]*)", text)) <= routes()
    paths = {path for _, path in routes()} | {"/ws/NAME"}
    named = {word for word in quoted(text) if re.match(r"/(health|api|metrics|ws|docs|.*\.js)", word)}
    assert {path.partition("?")[0] for path in named} <= paths
    assert set(re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text)) <= {f"{page}.md" for page in TEXTS}


@every_page
def test_every_program_of_the_tests_is_one(name: str) -> None:
    modules = re.findall(r"python -m (tests[\w.]*\w)", TEXTS[name])
    assert not [module for module in modules if not find_spec(module)]


def test_each_promise_is_held_by_a_test_that_is_there() -> None:
    promises = TEXTS["security"].split("## What is not promised")[0].split("\n**")[1:]
    assert promises
    for promise in promises:
        named = re.findall(r"`([\w/]+\.py)`,\s`(test_\w+)`", promise)
        assert named, promise
        for file, test in named:
            assert re.search(rf"def {test}\(", (ROOT / "tests" / file).read_text()), (file, test)


def test_readme_links_to_each_page() -> None:
    readme = (ROOT / "README.md").read_text()
    assert not [name for name in TEXTS if f"](wsctl/docs/{name}.md)" not in readme]


def test_a_secret_goes_into_a_file_that_only_its_owner_reads() -> None:
    texts = [(ROOT / "README.md").read_text(), *TEXTS.values()]
    lines = [line for text in texts for line in SECRET_INTO_A_FILE.findall(text)]
    assert len(lines) > 3
    assert [line for line in lines if not line.startswith("(umask 077; ")] == []


# topics.md has examples that are so


def test_each_pattern_matches_the_topics_that_it_is_said_to() -> None:
    rows = table(TEXTS["topics"], "pattern")
    assert len(rows) > 3
    for pattern, matching, others in rows:
        for cell, expected in ((matching, True), (others, False)):
            for topic in re.findall(r"`([^`]+)`", cell):
                assert matches(pattern.strip("`"), topic) is expected, (pattern, topic)


# protocol.md tells all


def test_all_close_codes_phases_and_routes_are_told() -> None:
    text = TEXTS["protocol"]
    assert {int(code) for code, *_ in table(text, "code")} == set(CloseCode)
    assert {phase.strip("`") for phase, *_ in table(text, "phase")} == set(Phase)
    told = set(re.findall(r"`(GET|POST|DELETE) ([^`]+)`", text))
    assert told == {(method, path) for method, path in routes() if not path.startswith("/ws/")}


def test_all_error_codes_are_told() -> None:
    text = " ".join(quoted(TEXTS["protocol"]))
    given = {code for source in SOURCES.values() for code in error_codes(source)}
    assert {"full", "closing", "not_now"} <= given
    given |= set(ErrorCode)
    assert not [code for code in given if code not in text]


def test_all_frames_are_told_with_their_fields() -> None:
    made = [
        messages.welcome(
            "bob",
            "1-0",
            "1",
            "serving",
            True,
            connections=1,
            keepalive_s=10,
            lost=["a"],
            rate=messages.Allowance(20, 40, 40),
        ),
        messages.message(messages.Message("1-0", 1.0, "bob", "x", ("eve",), topic="news", traceparent="t")),
        messages.heartbeat(1.0, 2, 3),
        messages.keepalive(),
        messages.shutdown(1.0, "x", 2.0),
        messages.error(ErrorCode.DEGRADED, "x", 1, ["a"]),
        messages.renewed(1.0),
        messages.ok(
            1, id="1-0", repeated=True, recovered=True, lost=["a"], count=1, clients=[], expires_in_s=1.0
        ),
        messages.joined("a", "bob"),
        messages.left("a", "bob"),
    ]
    frames = {frame["type"]: set(frame) - {"type"} for frame in map(json.loads, made)}
    told = table(section(TEXTS["protocol"], "From the server"), "`type`")
    assert {kind.strip("`"): set(re.findall(r"`(\w+)`", fields)) for kind, fields in told} == frames


# architecture.md names what is there


def test_all_files_of_the_architecture_are_there() -> None:
    text = TEXTS["architecture"]
    named = set(re.findall(r"(?:wsctl|tests)/[\w./]*\w", text))
    assert len(named) > 20
    assert not [path for path in named if not (ROOT / path).exists()]
    names = {path.name for path in SOURCES}
    assert not [name for name in re.findall(r"\b\w+\.py\b", text) if name not in names]


def test_each_dependency_has_its_reason() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    told, extras = (table(TEXTS["architecture"], heading) for heading in ("library", "extra"))
    assert {name for name, _ in told} == {bare(one) for one in project["dependencies"]}
    brought: dict[str, set[str]] = {}
    for extra, libraries, _ in extras:
        brought.setdefault(extra, set()).update(libraries.split(", "))
    wanted = project["optional-dependencies"].items()
    assert brought == {extra: {bare(one) for one in requirements} for extra, requirements in wanted}
    assert all(len(row[-1]) > 10 for row in (*told, *extras))


# operations.md says what is seen


def test_all_exit_codes_are_told() -> None:
    assert {int(code) for code, *_ in table(TEXTS["operations"], "exit code")} == set(ExitCode)


def test_each_log_line_is_written_somewhere() -> None:
    told = [
        line for cells in table(TEXTS["operations"], "line") for line in re.findall(r"`([^`]+)`", cells[0])
    ]
    written = "\n".join(SOURCES.values())
    assert len(told) > 10
    assert not [line for line in told if line not in written]


@pytest.mark.anyio
async def test_each_metric_is_told_by_a_server() -> None:
    node = Node(Settings(redis="redis://127.0.0.1"), [], with_application=True)
    node.log.home = FakeHome()
    node.journal = monitor_journal(node.log, node.clock)
    found = families(sources_of(node))
    told = {family.name + sample.suffix for family in found for sample in family.samples}
    told |= {family.name for family in found}  # of a drain there are no values without one
    named = set(re.findall(r"\bwsctl_\w+", TEXTS["operations"]))
    assert len(named) > 20
    assert named <= told


def complaint(words: list[str]) -> str | None:
    """Why the command line of a wsctl command is none; None when it is one."""
    try:
        with TREE.make_context("wsctl", list(words)) as context:
            name, command, rest = TREE.resolve_command(context, [*context._protected_args, *context.args])
            with command.make_context(name, rest, parent=context):
                return None
    except TyperException as error:
        return error.format_message()
    except typer.Exit:  # --help and --version
        return None


def flags_in(text: str) -> set[str]:
    return set(re.findall(r"(?<![\w-])--[a-z][a-z-]*\w", text))


def flags_of(command: Any) -> set[str]:
    own = {name for p in command.params for name in (*p.opts, *p.secondary_opts)}
    return own | {"--help"}


def variables() -> set[str]:
    """Names of settings and those that the source spells out; of each secret there is one for a file."""
    spelled = {name for source in SOURCES.values() for name in re.findall(r"\bWSCTL_\w+", source)}
    found = {variable(field.name) for field in FLAGS} | spelled
    return found | {f"{name}_FILE" for name in found}


@cache
def routes() -> set[tuple[str, str]]:
    """Method and path of all there are."""
    made = create_app(Node(Settings(), []))
    found = {("GET", "/openapi.json"), ("GET", "/docs"), ("GET", "/ws/{client_id}")}
    for path, methods in made.openapi()["paths"].items():
        found |= {(method.upper(), path) for method in methods}
    return found


def table(text: str, heading: str) -> list[list[str]]:
    """The cells of each row of the tables that have this heading in their first column."""
    pattern = rf"^\| {re.escape(heading)} \|.*\n\|[-|]+\|\n((?:\|.*\n)+)"
    lines = "".join(re.findall(pattern, text + "\n", re.MULTILINE)).splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def section(text: str, title: str) -> str:
    return text.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def bare(requirement: str) -> str:
    """The name of what is required, as tables have it."""
    found = re.match(r"[\w.-]+", requirement)
    assert found
    return found[0]


def error_codes(source: str) -> set[str]:
    """The codes with which a module refuses a request."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        name = getattr(node.func, "id", getattr(node.func, "attr", ""))
        at = {"ControlError": 1, "HttpRefusal": 1, "error_body": 0}.get(name)
        if at is not None and len(node.args) > at and isinstance(node.args[at], ast.Constant):
            found.add(str(node.args[at].value))
    return found
