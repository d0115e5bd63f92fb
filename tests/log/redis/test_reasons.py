"""What operators are told of a Redis that cannot be used: what is wrong, and what to do."""

import socket
from pathlib import Path

import pytest

from wsctl.errors import CannotStart
from wsctl.log.redis.client import RedisClient
from wsctl.log.redis.reasons import CORRECT_HOST, START_ONE, trouble

pytestmark = pytest.mark.anyio

SYSTEMS_WORDS = ("Errno", "Error ", "errno", "Connect call", "Exception", "service not known")


def closed_port() -> int:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        return int(nobody.getsockname()[1])


@pytest.mark.parametrize(
    ("url", "what", "cure"),
    [
        ("redis://nobody.invalid", "the name of its host is not known", CORRECT_HOST),
        ("redis+cluster://nobody.invalid", "the name of its host is not known", CORRECT_HOST),
        ("redis://127.0.0.1:{port}", "nothing listens there", START_ONE),
        ("rediss://127.0.0.1:{port}", "nothing listens there", START_ONE),
        ("redis+cluster://127.0.0.1:{port}", "nothing listens there", START_ONE),
        ("redis+sentinel://127.0.0.1:{port}/main", "no sentinel knows a primary", "check that the sentinels"),
        ("unix://{folder}/redis.sock", "there is no such socket", START_ONE),
    ],
)
async def test_who_is_not_reached_is_told_in_plain_words(
    url: str, what: str, cure: str, tmp_path: Path
) -> None:
    store = RedisClient(url.format(port=closed_port(), folder=tmp_path), None)
    with pytest.raises(CannotStart) as told:
        await store.check()
    await store.drop()
    text = str(told.value)
    assert text.startswith(f"--redis {store.name}: {what}")
    assert f"; {cure}" in text
    assert not [word for word in SYSTEMS_WORDS if word in text]


def test_what_a_failure_came_from_says_more_than_its_own_text() -> None:
    failure = RuntimeError("Error 111 connecting to 127.0.0.1:1")
    failure.__cause__ = ConnectionRefusedError(111, "Connect call failed ('127.0.0.1', 1)")
    assert trouble(failure).what == "nothing listens there"


def test_a_node_that_the_url_does_not_name_is_named() -> None:
    failure = RuntimeError("Error 111 connecting to 10.0.0.3:7000. Connection refused.")
    failure.__cause__ = ConnectionRefusedError(111, "Connection refused")
    url = "redis+cluster://10.0.0.1:7000"
    assert trouble(failure, url).what == "nothing listens there (10.0.0.3:7000)"
    assert trouble(failure, "redis://10.0.0.3:7000").what == "nothing listens there"


def test_what_is_not_known_keeps_its_own_words_in_one_line() -> None:
    assert trouble(RuntimeError("LOADING the\r\n dataset\x1b[2J")).what == r"'LOADING the dataset\x1b[2J'"
    assert trouble(RuntimeError()).what == "RuntimeError"
