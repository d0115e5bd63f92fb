"""The types of the client in JavaScript: they are those of the module, and hold for programs that use it."""

import re
from urllib.request import urlopen

import pytest

from tests.conftest import StartServer
from tests.support import typescript
from tests.support.server import DEADLINE
from tests.support.switchboard import MODULE

TYPES = MODULE.with_suffix(".d.ts")

PROGRAM = """
import { Client, CommandError, STATES, type Message } from "./wsctl.js";

const client = new Client<{ price: number }>("ws://localhost/ws/bob", {
  topics: ["quotes.>"],
  token: async () => "token",
  keepalive: 10,
  transport: "auto",
  fetch: globalThis.fetch,
});

client.addEventListener("open", ({ recovered, lost, frame, transport, reason }) => {
  const words: string[] = lost;
  if (transport === "event-stream" && client.transport === transport) console.log(reason?.length);
  console.log(frame.rate?.per_second, client.queued.toFixed());
  if (!recovered && frame.server.degraded) console.log(words, frame.client_id);
});
client.addEventListener("message", ({ data, frame }) => {
  const message: Message<{ price: number }> = frame;
  const price: number = data.price;
  console.log(message.topic?.toUpperCase(), message.traceparent?.length, price);
});
client.addEventListener("waiting", ({ code, wait }) => console.log(code.toFixed(), wait.toFixed()));
client.addEventListener("news", (event) => console.log(event.type));

try {
  const traceparent = "";
  const id: string = await client.publish(1, { topic: "quotes.eu", to: ["ann"], key: "k", traceparent });
  console.log(id, client.cursor?.length);
} catch (error) {
  if (error instanceof CommandError) console.log(error.code, error.message);
}
await client.subscribe("a", "b.*");
await client.unsubscribe("a");
await client.watch("chat");
const { count, clients } = await client.presence("chat");
console.log(count.toFixed(), clients.map(({ client_id, connections }) => client_id.repeat(connections)));
client.addEventListener("left", ({ frame }) => console.log(frame.topic, frame.client_id));
const taken: boolean = client.send("text");
console.log(taken, STATES.includes(client.state), client.topics.join());
client.retry();
client.close();
"""


RIGHT = "right.ts"

WRONG = [
    "client.send({ price: 3 });",
    "client.publish(1, { topics: 'a' });",
    "const id: number = await client.publish(1);",
    "client.addEventListener('message', ({ wait }) => wait);",
    "client.addEventListener('open', ({ frame }) => frame.data);",
    "client.state = 'open';",
    "new Client('ws://localhost', { token: 7 });",
    "new Client('ws://localhost', { transport: 'stream' });",
    "if (client.state === 'away') client.close();",
]
"""What a program may not do, each in a program of its own: that one, and at its end this."""


def wrong_file(line: str) -> str:
    return f"wrong{WRONG.index(line)}.ts"


@pytest.fixture(scope="module")
def faults(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[int, str]]:
    """What TypeScript has against each of the programs, by its lines."""
    folder = tmp_path_factory.mktemp("typescript")
    typescript.install(folder)
    for path in (MODULE, TYPES):
        (folder / path.name).write_bytes(path.read_bytes())
    wrong = {wrong_file(line): f"{PROGRAM}\n{line}\n" for line in WRONG}
    return typescript.faults(folder, {RIGHT: PROGRAM, **wrong})


def test_a_program_that_uses_everything_is_right_and_so_are_the_types(
    faults: dict[str, dict[int, str]],
) -> None:
    wrong = {wrong_file(line) for line in WRONG}
    assert {file: found for file, found in faults.items() if file not in wrong} == {}


@pytest.mark.parametrize("line", WRONG)
def test_what_is_not_so_is_an_error(faults: dict[str, dict[int, str]], line: str) -> None:
    last = PROGRAM.count("\n") + 2
    assert faults[wrong_file(line)].keys() == {last}


def members(text: str) -> set[str]:
    """The public members of the class `Client`, in JavaScript or its types."""
    (body,) = re.findall(r"^export class Client\b[^\n]*\{\n(.*?)^\}", text, re.MULTILINE | re.DOTALL)
    found = re.findall(r"^  (?:async |get |readonly )?([a-z]\w*)(?=[(<:])", body, re.MULTILINE)
    return set(found) - {"addEventListener", "removeEventListener"}


def test_the_types_have_the_names_of_the_module() -> None:
    module, types = MODULE.read_text(encoding="utf-8"), TYPES.read_text(encoding="utf-8")
    assert members(module) == members(types) >= {"constructor", "publish", "topics", "state"}
    values = r"^export (?:const|class) (\w+)"
    assert re.findall(values, module, re.MULTILINE) == re.findall(values, types, re.MULTILINE)


def test_they_are_served_beside_the_module(start_server: StartServer) -> None:
    server = start_server()
    with urlopen(f"{server.url}/wsctl.d.ts", timeout=DEADLINE) as answer:
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
        assert answer.headers["access-control-allow-origin"] == "*"
        assert answer.read() == TYPES.read_bytes()
