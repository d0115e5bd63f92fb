"""An application is imported, or one line says why it cannot be."""

import sys
from pathlib import Path

import pytest

from wsctl.server.asgi.loading import TRACEBACK_LINES, ApplicationFailed, load_application

APPS = """
async def app(scope, receive, send): ...

def make():
    return app

def broken():
    raise RuntimeError("no database")

class Old:
    def __init__(self, scope): ...
    async def __call__(self, receive, send): ...

number = 3

class Namespace:
    inner = staticmethod(app)

sync = len
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    (tmp_path / "apps_under_test.py").write_text(APPS)
    return tmp_path


def load(folder: Path, name: str, *, factory: bool = False) -> object:
    return load_application(name, factory=factory, app_dir=str(folder))


def why_not(folder: Path, name: str, *, factory: bool = False) -> list[str]:
    with pytest.raises(ApplicationFailed) as caught:
        load(folder, name, factory=factory)
    return caught.value.lines.splitlines()


def test_an_attribute_a_factory_and_a_nested_one_are_found(folder: Path) -> None:
    app = load(folder, "apps_under_test:app")
    assert load(folder, "apps_under_test:make", factory=True) is app
    assert load(folder, "apps_under_test:make") is app
    assert load(folder, "apps_under_test:Namespace.inner") is app


def test_the_older_form_of_asgi_is_taken(folder: Path) -> None:
    assert type(load(folder, "apps_under_test:Old")).__name__ == "ASGI2Middleware"


@pytest.mark.parametrize("name", ["main", "main:", ":app", ""])
def test_a_name_that_is_none_says_how_to_write_it(folder: Path, name: str) -> None:
    (line,) = why_not(folder, name)
    assert "write module:attribute" in line


def test_what_is_missing_is_named_in_one_line(folder: Path) -> None:
    (module,) = why_not(folder, "nowhere_to_be_found:app")
    assert "there is no module nowhere_to_be_found" in module
    assert "--app-dir" in module
    (package,) = why_not(folder, "nowhere_to_be_found.inner:app")
    assert "there is no module nowhere_to_be_found.inner" in package
    (attribute,) = why_not(folder, "apps_under_test:wrong.name")
    assert attribute == (
        "apps_under_test:wrong.name: the module apps_under_test has no wrong.name: write the name of the"
        " variable that holds the application"
    )
    (kind,) = why_not(folder, "apps_under_test:number")
    assert kind == "apps_under_test:number is an int, which is no ASGI application"


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("import missing_package_x", "ModuleNotFoundError: No module named 'missing_package_x'"),
        ("def f():\n    1 / 0\nf()", "ZeroDivisionError: division by zero"),
        ("x = (", "SyntaxError: '(' was never closed"),
        ("raise SystemExit('no licence')", "SystemExit: no licence"),
    ],
)
def test_code_that_fails_shows_the_last_lines_of_its_traceback(folder: Path, code: str, error: str) -> None:
    (folder / "fails_under_test.py").write_text(code)
    first, *lines = why_not(folder, "fails_under_test:app")
    assert first.startswith(f"fails_under_test cannot be imported: {error}")
    assert 0 < len(lines) <= TRACEBACK_LINES
    assert lines[-1].startswith(error)
    assert any("fails_under_test.py" in line for line in lines)
    assert not any("importlib" in line or "loading.py" in line for line in lines)


def test_a_factory_that_fails_shows_where(folder: Path) -> None:
    first, *lines = why_not(folder, "apps_under_test:broken", factory=True)
    assert "failed when it was called" in first
    assert lines[-1] == "RuntimeError: no database"
