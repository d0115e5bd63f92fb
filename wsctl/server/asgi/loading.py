"""The loading of an application that is not ours: `module:attribute`, as uvicorn takes it."""

import difflib
import importlib
import inspect
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from starlette.types import ASGIApp
from uvicorn.middleware.asgi2 import ASGI2Middleware

from wsctl.errors import CannotStart, package
from wsctl.settings import application_name

TRACEBACK_LINES = 8
"""The last lines of a traceback that are shown: the error, and three frames of two lines each."""


class ApplicationFailed(CannotStart):
    """The error of an application that cannot be loaded, or does not start. When its own code failed, the
    last lines of its traceback are the details."""


def load_application(name: str, *, factory: bool = False, app_dir: str = "") -> ASGIApp:
    """Import the application that `module:attribute` names, from `app_dir` too, and return it. With `factory`
    it is what the attribute returns when it is called.

    Raises:
        ApplicationFailed: there is no such module or attribute, its code fails, or it is no application.
    """
    try:
        module_name, _, attributes = application_name(name).partition(":")
    except ValueError as error:
        raise ApplicationFailed(str(error)) from None
    if app_dir not in sys.path:
        sys.path.insert(0, app_dir)
    found = _attribute(_import(module_name, app_dir), attributes, name)
    if factory or _takes_nothing(found):
        found = _call(found, name)
    if not callable(found):
        raise ApplicationFailed(f"{name} is {_a_kind_of(found)}, which is no ASGI application")
    return found if _is_asgi_3(found) else ASGI2Middleware(found)  # type: ignore[return-value]


def load_variables(name: str) -> None:
    """Set the variables of a file in the environment, as far as they are not set, as uvicorn does.

    Raises:
        CannotStart: there is no such file, or the package that reads it is not installed.
    """
    try:
        from dotenv import load_dotenv
    except ImportError:
        raise CannotStart(f"--env-file needs {package('python-dotenv', 'env')}") from None
    if not Path(name).is_file():
        raise CannotStart(f"--env-file {name}: there is no such file")
    load_dotenv(name)


def _import(name: str, app_dir: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(f"{error.name}.")):
            where = f"in {app_dir}" if app_dir else "here"
            advice = "start it in the folder that holds it, or name that with --app-dir"
            raise ApplicationFailed(f"there is no module {name} {where}: {advice}") from None
        raise _failed(f"{name} cannot be imported", error) from None
    except (Exception, SystemExit) as error:
        raise _failed(f"{name} cannot be imported", error) from None


def _attribute(module: Any, attributes: str, name: str) -> Any:
    found = module
    for attribute in attributes.split("."):
        if not hasattr(found, attribute):
            near = difflib.get_close_matches(attribute, dir(found), 1)
            advice = (
                f"did you mean {near[0]}?"
                if near
                else "write the name of the variable that holds the application"
            )
            raise ApplicationFailed(f"{name}: the module {module.__name__} has no {attributes}: {advice}")
        found = getattr(found, attribute)
    return found


def _call(factory: Callable[[], Any], name: str) -> Any:
    try:
        return factory()
    except (Exception, SystemExit) as error:
        raise _failed(f"{name} failed when it was called, to make the application", error) from None


def _takes_nothing(found: Any) -> bool:
    """Tell whether an attribute is a factory: a function without parameters, which no application is."""
    return inspect.isfunction(found) and not inspect.signature(found).parameters


def _is_asgi_3(app: Any) -> bool:
    """Tell whether an application takes scope, receive and send at once; the older form, of Channels' past,
    takes the scope alone and returns the rest. uvicorn tells them apart in the same way."""
    if inspect.isclass(app):
        return hasattr(app, "__await__")
    return inspect.iscoroutinefunction(app if inspect.isfunction(app) else app.__call__)


def _failed(what: str, error: BaseException) -> ApplicationFailed:
    lines = "".join(traceback.format_exception(type(error), error, _own_frames(error.__traceback__)))
    return failed_with_traceback(what, lines)


def failed_with_traceback(what: str, trace: str) -> ApplicationFailed:
    """Return the error whose cause a traceback tells; `what` says what has failed."""
    lines = trace.rstrip().splitlines()
    return ApplicationFailed(f"{what}: {_error_of(lines)}" if lines else what, lines[-TRACEBACK_LINES:])


def _error_of(lines: Sequence[str]) -> str:
    """Return the line of a traceback that names the error: the text of one can have several."""
    begins = max((n for n, line in enumerate(lines) if line.startswith("Traceback ")), default=len(lines))
    return next((line for line in lines[begins + 1 :] if not line.startswith(" ")), lines[-1])


def _own_frames(found: TracebackType | None) -> TracebackType | None:
    """Return the traceback from where the application's own code begins."""
    while found and _is_loading(found.tb_frame.f_code.co_filename):
        found = found.tb_next
    return found


def _is_loading(filename: str) -> bool:
    return filename in (__file__, importlib.__file__) or filename.startswith("<frozen importlib")


def _a_kind_of(found: Any) -> str:
    name = type(found).__name__
    return f"an {name}" if name[0] in "aeiouAEIOU" else f"a {name}"
