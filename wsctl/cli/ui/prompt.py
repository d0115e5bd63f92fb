"""The line a person types in, with what arrives printed above it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO, cast

from prompt_toolkit import PromptSession
from prompt_toolkit.history import InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.patch_stdout import StdoutProxy


class Prompt:
    """Reads lines on the terminal. What was entered is erased there: it comes back as a message."""

    def __init__(self, client_id: str) -> None:
        self._session: PromptSession[str] = PromptSession(
            f"{client_id}> ",
            history=InMemoryHistory(),
            key_bindings=_keys(),
            erase_when_done=True,
        )
        self._kept = ""

    async def read(self) -> str:
        """The next line.

        Raises:
            EOFError: the person leaves.
        """
        kept, self._kept = self._kept, ""
        return await self._session.prompt_async(default=kept)

    def put_back(self, text: str) -> None:
        """The next line begins as this one, which could not be used."""
        self._kept = text


@contextmanager
def above_the_prompt() -> Iterator[TextIO]:
    """A stream that prints above the line being typed; escape sequences pass."""
    with StdoutProxy(raw=True) as stream:
        yield cast(TextIO, stream)


def _keys() -> KeyBindings:
    """Ctrl-C clears the line, and leaves when there is nothing to clear."""
    keys = KeyBindings()

    @keys.add("c-c")
    @keys.add("<sigint>")
    def _(event: KeyPressEvent) -> None:
        if event.current_buffer.text:
            event.current_buffer.reset()
        else:
            event.app.exit(exception=EOFError())

    return keys
