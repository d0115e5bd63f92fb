"""The script for fish 3 and later."""

from collections.abc import Iterator

from wsctl.cli.completions.tree import Argument, Option, Tree, Value

_HEAD = r"""# Completion of wsctl for fish, made by: wsctl completions fish

# Whether the command on the line is $argv[1]; without an argument, whether there is none yet.
function __wsctl_command_is
    set -l words (commandline -opc)
    for word in $words[2..-1]
        string match -q -- '-*' $word; and continue
        test "$word" = "$argv[1]"
        return
    end
    test -z "$argv[1]"
end

complete -c wsctl -f
"""


def fish(tree: Tree) -> str:
    """Return the script for fish."""
    return _HEAD + "".join(f"complete -c wsctl {line}\n" for line in _lines(tree))


def _lines(tree: Tree) -> Iterator[str]:
    before = "-n __wsctl_command_is"
    for option in tree.options:
        yield f"{before} {_option(option)}"
    for command in tree.commands:
        yield f"{before} -a {command.name} -d {_quoted(command.help)}"
    for command in tree.commands:
        condition = f"__wsctl_command_is {command.name}"
        for option in command.options:
            yield f"-n '{condition}' {_option(option)}"
        for argument in command.arguments:
            if takes := _takes(argument.value):
                yield f"-n '{condition}{_once(argument)}' {takes}"


def _option(option: Option) -> str:
    names = " ".join(f"-l {n[2:]}" if n.startswith("--") else f"-s {n[1:]}" for n in option.names)
    value = f" {_required(option.value)}" if option.value else ""
    return f"{names}{value} -d {_quoted(option.help)}"


def _required(value: Value) -> str:
    """Return the options for a value that must follow; `-x` keeps fish from offering files for it."""
    return f"-r {_takes(value)}" if value.is_file else f"-x {_takes(value)}".rstrip()


def _once(argument: Argument) -> str:
    """Return the condition under which a word that was given is not offered again."""
    words = argument.value.words
    once = words and not argument.repeats
    return f"; and not __fish_seen_subcommand_from {' '.join(words)}" if once else ""


def _takes(value: Value) -> str:
    """Return the options that offer a value; empty when there is nothing to offer."""
    if value.words:
        return f"-a '{' '.join(value.words)}'"
    return "-F" if value.is_file else ""


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
