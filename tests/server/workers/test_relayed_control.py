"""What a worker tells while its parent does not answer."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.support.status import FACTS
from wsctl.control.status import ServerStatus
from wsctl.server.node_control import NodeControl
from wsctl.server.workers.parent_link import ParentLink
from wsctl.server.workers.relayed_control import RelayedControl

pytestmark = pytest.mark.anyio

FAILED = {
    "state": "failed",
    "successor": 8,
    "total": 3,
    "moved": 0,
    "staying": 0,
    "elapsed_s": 1.0,
    "silence_s": 0.0,
    "error": "the successor ended with exit code 7",
}


async def test_an_upgrade_of_its_own_is_not_taken_for_that_of_all(anyio_backend: Any) -> None:
    own = ServerStatus.from_json(FACTS | {"degraded": None, "upgrade": FAILED})

    async def status(**_: bool) -> ServerStatus:
        return own

    async def silent() -> None:
        return None

    link = SimpleNamespace(lost=False, fetch_status=silent)
    alone = SimpleNamespace(status=status, whole_status=status)
    control = RelayedControl(cast(ParentLink, link), cast(NodeControl, alone))
    assert (await control.status(clients=False)).upgrade is None
    assert (await control.whole_status()).upgrade is None
    link.lost = True
    assert await control.whole_status() == own
