"""A plugin for a pytest that runs tests which we print: the servers that they start cold are forked."""

import subprocess
from types import SimpleNamespace

import pytest

from tests.support.processes import popen


@pytest.fixture(scope="module", autouse=True)
def forked(request: pytest.FixtureRequest) -> None:
    """The module's own `subprocess`, before anything is started."""
    request.module.subprocess = SimpleNamespace(PIPE=subprocess.PIPE, Popen=popen)
