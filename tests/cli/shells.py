"""Shells under test: what each offers when TAB is pressed at the end of a line."""

import os
import pty
import subprocess
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.support.server import DEADLINE

BASH = r"""
source "$SCRIPT"
read -ra COMP_WORDS <<<"$LINE"
[[ $LINE == *' ' ]] && COMP_WORDS+=('')
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_wsctl
printf '%s\n' "${COMPREPLY[@]}"
"""

# compadd is where every match of zsh goes through; its calls with -O, -A or -D only ask.
ZSH = r"""
autoload -Uz compinit && compinit -u -C -d $DUMP
source $SCRIPT
compadd() {
    if [[ -n ${argv[(r)-[OAD]*]} ]]; then builtin compadd "$@"; return; fi
    local -a matches texts
    integer at=$argv[(I)-d] i
    (( at )) && texts=(${(P)argv[at+1]})
    builtin compadd -A matches -D texts "$@"
    for ((i = 1; i <= $#matches; i++)); print -r -- "$matches[i]"$'\t'"$texts[i]" >>$FOUND
    builtin compadd "$@"
}
complete-and-leave() {
    BUFFER=$LINE CURSOR=$#LINE
    zle complete-word
    exit
}
zle -N complete-and-leave
zle-line-init() { zle complete-and-leave }
zle -N zle-line-init
"""

PROMPT = b"ready> "

FISH = "source $SCRIPT; complete -C $LINE"


def in_bash(environ: Mapping[str, str], folder: Path) -> str:
    return run(["bash", "--norc", "--noprofile", "-c", BASH], environ, folder)


def in_fish(environ: Mapping[str, str], folder: Path) -> str:
    return run(["fish", "--no-config", "-c", FISH], environ, folder)


def in_zsh(environ: Mapping[str, str], folder: Path) -> str:
    """zsh completes only in its line editor, which wants a terminal. DUMP is where it keeps the list of
    its own completions, which takes it a third of a second to make."""
    home = Path(environ["HOME"])
    found = home / "found"
    found.write_text("")
    (home / ".zshrc").write_text(ZSH)
    on_terminal(["zsh", "-d", "-i"], {**environ, "ZDOTDIR": str(home), "FOUND": str(found)}, folder)
    return found.read_text()


TAB: dict[str, Callable[[Mapping[str, str], Path], str]] = {"bash": in_bash, "zsh": in_zsh, "fish": in_fish}
"""By shell: the matches for LINE of the environment in a folder, one a line, help after a tab."""


def run(command: list[str], environ: Mapping[str, str], folder: Path) -> str:
    done = subprocess.run(
        command, env=environ, cwd=folder, capture_output=True, text=True, timeout=DEADLINE, check=False
    )
    assert not done.stderr
    return done.stdout


def on_terminal(command: list[str], environ: Mapping[str, str], folder: Path, typed: str = "") -> str:
    """What a program shows on a terminal until it ends; `typed` is typed when it has shown PROMPT."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, env=environ, cwd=folder, start_new_session=True
    ) as process:
        os.close(theirs)
        late = threading.Timer(DEADLINE, process.kill)
        late.start()
        shown = b""
        while some := _read(ours):
            shown += some
            if typed and PROMPT in shown:
                os.write(ours, typed.encode())
                typed = ""
        late.cancel()
    os.close(ours)
    return shown.decode(errors="replace")


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:  # Linux's way to say that nobody is at the other end any more
        return b""
