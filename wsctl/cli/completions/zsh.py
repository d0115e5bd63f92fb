"""The script for zsh: a function that `compinit` finds in `$fpath`, or that can be sourced."""

from wsctl.cli.completions.tree import Argument, Command, Option, Tree, Value

_SCRIPT = r"""#compdef wsctl
# Completion of wsctl for zsh, made by: wsctl completions zsh

_wsctl_commands() {
    local -a commands=(
@commands@
    )
    _describe -t commands command commands
}

_wsctl() {
    local curcontext=$curcontext context state state_descr ret=1
    local -a line
    local -A opt_args

    _arguments -C \
@options@
        '1:command:_wsctl_commands' \
        '*::argument:->argument' && ret=0

    [[ $state == argument ]] || return ret
    curcontext=${curcontext%:*:*}:wsctl-$line[1]:
    case $line[1] in
@cases@
    esac
    return ret
}

if [[ $funcstack[1] == _wsctl ]]; then
    _wsctl "$@"
else
    compdef _wsctl wsctl
fi
"""


def zsh(tree: Tree) -> str:
    """Return the script for zsh."""
    commands = [f"        {_quoted(f'{command.name}:{command.help}')}" for command in tree.commands]
    options = [f"        {spec} \\" for spec in _specs(tree.options)]
    cases = [_case(command) for command in tree.commands]
    text = _SCRIPT.replace("@commands@", "\n".join(commands))
    return text.replace("@options@", "\n".join(options)).replace("@cases@", "\n".join(cases))


def _case(command: Command) -> str:
    specs = [*_specs(command.options), *map(_argument, command.arguments)]
    body = " \\\n                ".join(specs)
    return (
        f"        {command.name})\n            _arguments \\\n                {body} && ret=0\n            ;;"
    )


def _specs(options: tuple[Option, ...]) -> list[str]:
    return [_spec(option, name) for option in options for name in option.names]


def _spec(option: Option, name: str) -> str:
    """Return `_arguments`' word for one name of an option; it is not offered beside what it excludes."""
    excluded = [*(option.names if len(option.names) > 1 else ()), *option.opposite]
    start = "*" if option.repeats else f"({' '.join(excluded)})" if excluded else ""
    long = "=" if option.value and name.startswith("--") else ""
    text = option.help.replace("\\", r"\\").replace("[", r"\[").replace("]", r"\]")
    return _quoted(f"{start}{name}{long}[{text}]{_action(option.value) if option.value else ''}")


def _argument(argument: Argument) -> str:
    return _quoted(f"{'*' if argument.repeats else ''}{_action(argument.value)}")


def _action(value: Value) -> str:
    """Return the action for a value. A single space completes nothing and says what is wanted."""
    if value.words:
        return f":{value.metavar}:({' '.join(value.words)})"
    return f":{value.metavar}:{'_files' if value.is_file else ' '}"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", r"'\''") + "'"
