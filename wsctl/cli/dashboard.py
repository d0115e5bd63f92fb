"""`wsctl dashboard`."""

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wsctl.cli.options import Json, Port, Url
from wsctl.cli.ui.text import say
from wsctl.errors import WsctlError

if TYPE_CHECKING:
    from wsctl.client.control import Control
    from wsctl.client.target import Target

_GRAPHICAL = ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")
"""The variables of which one is set where there is a browser with windows."""

_REDIRECT = """<!doctype html>
<meta charset="utf-8">
<meta name="referrer" content="no-referrer">
<meta http-equiv="refresh" content="0; url={url}">
<title>wsctl dashboard</title>
<a href="{url}">Dashboard</a>
"""


def dashboard(
    *,
    no_browser: Annotated[
        bool, typer.Option("--no-browser", help="Print the link, and open no browser.")
    ] = False,
    url: Url = None,
    port: Port = None,
    as_json: Json = False,
) -> None:
    """Open the dashboard of a running server in a browser.

    The link is good once, and for two minutes; it is printed, too.
    """
    from wsctl.client.control import Control
    from wsctl.client.target import find_target

    target = find_target(url, port, os.environ)
    control = Control(target, waiting=say)
    at = _address(target, control)
    told = control.dashboard_link()
    link = f"{at}/dashboard#{told['link']}"
    print(json.dumps({"url": link, "expires_in_s": told["expires_in_s"]}) if as_json else link, flush=True)
    if not no_browser and not _open(link, os.environ):
        say("no browser was found: open the link in one, within two minutes")


def _address(target: "Target", control: "Control") -> str:
    """Return the URL at which the server has its dashboard.

    Raises:
        WsctlError: a browser reaches none.
    """
    facts = control.status()
    if target.control is None and target.url:
        return target.url
    admin = facts.get("admin")
    at = admin if isinstance(admin, str) else None if facts.get("application") else target.url
    if at is None:
        text = "has no address for its dashboard: start it with --admin-port"
        raise WsctlError(f"{target.name} {text}")
    return at.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")


def _open(link: str, environ: Mapping[str, str]) -> bool:
    """Open a link in a browser; return whether one was found. What the browser's command line shows to other
    users of this machine is a file that only this one can read."""
    import webbrowser

    from wsctl.process.registry import runtime_folder

    if sys.platform != "darwin" and not any(environ.get(name) for name in _GRAPHICAL):
        return False  # a browser for terminals runs no script
    folder = runtime_folder(environ) / "dashboard"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return webbrowser.open(_redirect(folder / "open.html", link).as_uri())


def _redirect(path: Path, link: str) -> Path:
    """Write a page that leads to a link, for this user alone."""
    from html import escape

    path.unlink(missing_ok=True)
    path.touch(mode=0o600, exist_ok=False)
    path.write_text(_REDIRECT.format(url=escape(link)))
    return path.resolve()
