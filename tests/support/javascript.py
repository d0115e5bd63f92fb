"""Node, driven line by line: what a program in JavaScript does."""

import json
import os
import queue
import re
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.programs import need
from tests.support.server import DEADLINE

OLDEST = (16, 0)
"""Has every part of the language and every global that wsctl.js uses, but WebSocket."""

BEHIND_A_FLAG = (20, 10)
"""The first that has a WebSocket, with `--experimental-websocket`; as of 22 without."""

WEBSOCKET = Path(__file__).with_name("websocket.mjs")
"""One for those that have none, and to be given in place of the built-in one."""

_EACH_LINE = """
import { createInterface } from "node:readline";
globalThis.load = (path) => import(path);
globalThis.restore = () => {
  for (const [object, properties] of before) {
    for (const key of Reflect.ownKeys(object)) if (!(key in properties)) Reflect.deleteProperty(object, key);
    Object.defineProperties(object, properties);
  }
};
const before = [globalThis, Math, performance].map((each) => [each, Object.getOwnPropertyDescriptors(each)]);
for await (const line of createInterface({ input: process.stdin })) {
  const answer = {};
  try { answer.value = await (0, eval)(JSON.parse(line)); }
  catch (error) { answer.error = String(error.stack); }
  console.log(JSON.stringify(answer));
}
process.exit();
"""


class Node:
    """A running Node.

    Attributes:
        fresh: nothing was evaluated since it began, or since all was as then again.
    """

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self._answers: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self._answering = True
        self.fresh = True

    def evaluate(self, js: str, deadline: float = DEADLINE) -> Any:
        """The value of an expression, awaited if it is a promise.

        Raises:
            queue.Empty: it did not answer in time, now or before.
        """
        assert self._process.stdin
        if not self._answering:
            raise queue.Empty
        self._process.stdin.write(json.dumps(js) + "\n")
        self._process.stdin.flush()
        self._answering = self.fresh = False
        answer = json.loads(self._answers.get(timeout=deadline))
        self._answering = True
        assert "error" not in answer, f"{js}: {answer['error']}"
        return answer.get("value")

    def load(self, module: Path) -> None:
        """Import a module as `wsctl`, with a global WebSocket, whatever the version."""
        given = f"load({json.dumps(WEBSOCKET.as_uri())})"
        self.evaluate(f"(async () => {{ globalThis.WebSocket ??= (await {given}).WebSocket; }})()")
        imported = f"load({json.dumps(module.as_uri())})"
        self.evaluate(f"(async () => {{ globalThis.wsctl = await {imported}; }})()")

    def restore(self) -> None:
        """Put the globals back, and those of `Math` and `performance`: as if nothing had been evaluated."""
        if self._answering:
            self.evaluate("restore()")
            self.fresh = True

    def close(self) -> None:
        """End it: its standard input is over. If it waits for something else, it is killed."""
        assert self._process.stdin
        assert self._process.stdout
        try:
            self._process.stdin.close()
            if self._answering:
                self._process.wait(DEADLINE)
        finally:
            self._process.kill()  # or the reader would hold standard output, and its closing wait for ever
            self._process.wait()
            self._reader.join()
            self._process.stdout.close()

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            self._answers.put(line)


def command() -> list[str]:
    """Node with a WebSocket where it has one; where there is no Node, the test is skipped, or fails in CI."""
    need("node")
    told = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout
    major, minor = (int(part) for part in re.findall(r"\d+", told)[:2])
    if (major, minor) < OLDEST:
        reason = f"needs Node {OLDEST[0]}: this is {told.strip()}"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    flags = ["--experimental-websocket"] if BEHIND_A_FLAG <= (major, minor) < (22, 0) else []
    return ["node", "--no-warnings", *flags]


@contextmanager
def running_node() -> Iterator[Node]:
    """A Node with nothing loaded."""
    process = subprocess.Popen(
        [*command(), "--input-type=module", "--eval", _EACH_LINE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    node = Node(process)
    try:
        yield node
    finally:
        node.close()


@contextmanager
def fresh_nodes() -> Iterator[Callable[[], Node]]:
    """Give a Node with nothing loaded: the one given before, where it was restored since."""
    with ExitStack() as stack:
        given: list[Node] = []

        def give() -> Node:
            if not given or not given[-1].fresh:
                stack.close()
                given.append(stack.enter_context(running_node()))
            return given[-1]

        yield give
