"""The ASGI application for other servers than `wsctl serve`: `uvicorn wsctl.main:app`.

Settings come from `WSCTL_*`. The drain is the same as under `wsctl serve`: the server's own signal
handlers are put off until every client has left or the deadline has come.
"""

import os
import sys

from wsctl.errors import WsctlError
from wsctl.server.embedded import create_embedded_app
from wsctl.settings import from_environ

try:
    app = create_embedded_app(from_environ(os.environ), os.environ)
except WsctlError as error:
    sys.exit(f"wsctl: {error}")
