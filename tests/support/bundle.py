"""React components, built as people build them."""

import subprocess
from pathlib import Path

from tests.support import npm

REACT = {"react": "^19.0.0", "react-dom": "^19.0.0"}
PACKAGE = {"private": True, "dependencies": REACT | {"esbuild": "^0.28.0"}}

BUILD = (
    "node_modules/.bin/esbuild",
    "main.jsx",
    "--bundle",
    "--jsx=automatic",
    "--outfile=bundle.js",
    # Only there effects run twice under StrictMode.
    '--define:process.env.NODE_ENV="development"',
    "--log-level=warning",
)

PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><link rel="icon" href="data:,">
<title>React</title><div id="root"></div><script src="bundle.js"></script></html>"""


def install(folder: Path) -> None:
    """React and a bundler into `folder`."""
    npm.install(folder, PACKAGE, "React")


def build(folder: Path, app: str, main: str) -> str:
    """The URL of a page that runs `main`, which may import `app` as ./App.jsx."""
    (folder / "App.jsx").write_text(app)
    (folder / "main.jsx").write_text(main)
    (folder / "index.html").write_text(PAGE)
    done = subprocess.run(BUILD, cwd=folder, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return (folder / "index.html").as_uri()
