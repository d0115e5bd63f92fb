"""The HTTP routes under requests that schemathesis makes up from what they say of themselves."""

import os
import subprocess
import sys
import time
from http.client import HTTPConnection
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import StartServer
from tests.e2e.ways import TOKEN, Way, as_operator, embedded, module
from tests.support.clients import join
from tests.support.server import DEADLINE, ServerProcess
from tests.support.sizes import Sizes, examples

EXAMPLES = 12
"""Drains that are asked for."""

LONG = 15
"""Seconds that schemathesis takes for a server at most; it needs about five. It is not told so: `--max-time`
has it fuzz again until the time is over, and on a busy machine leave out some of the routes' bounds."""

WAITING = r"^/(api/(drain|upgrade)$|events/)"
"""Routes whose GET waits or has no end by design, and whose POST ends or replaces the server under test."""

TIMEOUTS = st.floats(1000, 1e308) | st.floats(1e9, 1e12) | st.integers(1000, 1 << 2000) | st.none()

CONFIG = """
[[operations]]
include-name = "POST /api/broadcast"
# An id's letters are of any script, which is more than a pattern can say: it may get 400 all the same.
checks.positive_data_acceptance.expected-statuses = ["2xx", "400"]

[[operations]]
include-name = "POST /api/publish"
# The same; and as NDJSON a line that is no JSON gets its error in an answer of status 200.
checks.positive_data_acceptance.expected-statuses = ["2xx", "400"]
checks.negative_data_rejection.expected-statuses = ["200", "400", "404", "406", "413", "415"]

[[operations]]
include-name = "GET /api/history"
# A topic has a form, which the schema does not tell.
checks.positive_data_acceptance.expected-statuses = ["200", "400"]

[[operations]]
include-name = "DELETE /api/clients/{client_id}"
# The same, and a reason is bounded in bytes.
checks.positive_data_acceptance.expected-statuses = ["200", "400", "404"]

[[operations]]
include-name = "POST /publish"
# The same, and a client's id is needed where no token names it. Single clients may not be addressed.
checks.positive_data_acceptance.expected-statuses = ["2xx", "400", "403", "429"]
"""


def unharmed(server: ServerProcess) -> None:
    """It still serves, and has nothing to report; whatever was asked, no traceback."""
    assert server.http("GET", "/health")[0] == 200
    assert server.faults == []


@pytest.mark.parametrize(("way", "phases"), [(module, "coverage,fuzzing"), (embedded, "coverage")])
def test_what_the_routes_say_of_themselves_is_true(
    start_server: StartServer, way: Way, phases: str, tmp_path: Path, sizes: Sizes
) -> None:
    server = way(start_server)
    (tmp_path / "schemathesis.toml").write_text(CONFIG)
    seed = ("--seed", "1") if "CI" in os.environ else ()
    flags = [
        *("--header", f"Authorization: Bearer {TOKEN}", "--exclude-path-regex", WAITING),
        *("--phases", phases, "--max-examples", str(sizes.requests)),
        *("--checks", "all", "--max-response-time", "5", "--continue-on-failure", "--no-color"),
    ]
    done = subprocess.run(
        [Path(sys.executable).parent / "st", "run", f"{server.url}/openapi.json", *seed, *flags],
        cwd=tmp_path,
        env=server.environ,
        capture_output=True,
        text=True,
        timeout=LONG + 2 * DEADLINE,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    unharmed(server)


@pytest.mark.anyio
async def test_no_drain_that_is_asked_for_breaks_the_server(start_server: StartServer) -> None:
    server = module(start_server)
    bob = await join(server.ws_url, "bob")  # who keeps the drain from ending

    @examples(EXAMPLES)
    @given(
        st.fixed_dictionaries({"timeout": TIMEOUTS})
        | st.dictionaries(st.text(max_size=3), st.integers() | st.text(max_size=3), min_size=1)
        | st.binary(max_size=30).filter(lambda body: body.strip() != b"")
    )
    def asked(body: object) -> None:
        status, answer = as_operator(server, "POST", "/api/drain", body)
        assert status in (200, 400), answer
        if status == 400:
            assert set(answer["error"]) == {"code", "message"}  # type: ignore[index]
        assert as_operator(server, "DELETE", "/api/drain")[0] in (200, 409)

    try:
        asked()
    finally:
        await bob.close()
    unharmed(server)


BODIES = {
    "not UTF-8": b'{"data": "\xff"}',
    "half a character": b'{"data": "\xe2\x82',
    "UTF-16": '{"data": 1}'.encode("utf-16"),
    "a form": b"data=1&to=bob",
    "XML": b"<data>1</data>",
    "a bomb of brackets": b"[" * 50_000,
    "a name twice and one too many": b'{"data": 1, "data": 2, "more": 3}',
    "a number without end": b'{"data": 1' + b"0" * 60_000 + b"x}",
    "nothing": b"",
    "white space": b" \r\n",
}


@pytest.mark.parametrize("way", [module, embedded])
def test_bodies_that_are_no_broadcast_get_one_error(start_server: StartServer, way: Way) -> None:
    server = way(start_server)
    for kind in (
        "application/json",
        "text/xml",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
        "é",
    ):
        for name, body in BODIES.items():
            headers = {"authorization": f"Bearer {TOKEN}", "content-type": kind}
            status, answer = server.http("POST", "/api/broadcast", body, headers)
            assert (status, set(answer), answer["error"]["code"]) == (400, {"error"}, "bad_request"), name
    unharmed(server)


@pytest.mark.parametrize("token", [TOKEN, "wrong"])
def test_a_body_without_end_is_cut_off(start_server: StartServer, token: str) -> None:
    server = module(start_server)
    connection = HTTPConnection("127.0.0.1", server.port, timeout=DEADLINE)
    connection.putrequest("POST", "/api/broadcast")
    connection.putheader("authorization", f"Bearer {token}")
    connection.putheader("transfer-encoding", "chunked")
    connection.endheaders()
    until = time.monotonic() + DEADLINE
    chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
    with pytest.raises((ConnectionResetError, BrokenPipeError)):
        connection.send(chunk for _ in iter(lambda: time.monotonic() > until, True))
    connection.close()
    unharmed(server)


def test_a_body_that_is_just_too_long_leaves_the_connection_usable(start_server: StartServer) -> None:
    server = module(start_server)
    connection = HTTPConnection("127.0.0.1", server.port, timeout=DEADLINE)
    headers = {"authorization": f"Bearer {TOKEN}"}
    for _ in range(2):
        connection.request("POST", "/api/broadcast", b" " * 140_000, headers)
        answer = connection.getresponse()
        assert (answer.status, b"too_big" in answer.read()) == (413, True)
    connection.close()
