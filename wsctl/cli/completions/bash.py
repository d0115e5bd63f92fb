"""The script for bash 3.2 and later (3.2 is what macOS has)."""

from collections.abc import Iterable

from wsctl.cli.completions.tree import Option, Tree, Value

_SCRIPT = r"""# Completion of wsctl for bash, made by: wsctl completions bash
# shellcheck shell=bash

# What option $2 of command $1 takes; $1 is empty before the command. A flag takes nothing.
_wsctl_value() {
    takes='' words=''
    case $1:$2 in
@values@
    esac
}

# What stands in place $2, from 0, of command $1.
_wsctl_argument() {
    takes='' words=''
    case $1:$2 in
@arguments@
    esac
}

_wsctl_options() {
    takes=word words=''
    case $1 in
@options@
    esac
}

_wsctl_reply() {
    local match
    while IFS= read -r match; do
        COMPREPLY+=("$match")
    done < <(compgen "$@")
}

_wsctl() {
    local IFS=$' \t\n' current=${COMP_WORDS[COMP_CWORD]} word i
    local command='' place=0 ended='' takes='' words='' prefix=''
    # An option that waits for its value; "-" inside a word, which bash splits at = and :
    local pending=''
    COMPREPLY=()
    for ((i = 1; i < COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        if [[ $word == = ]]; then
            pending=${pending:--}
        elif [[ $word == :* ]]; then
            pending=-
        elif [[ -n $pending ]]; then
            pending=''
        elif [[ -z $ended && $word == -- ]]; then
            ended=1
        elif [[ -z $ended && $word == -?* ]]; then
            _wsctl_value "$command" "$word"
            pending=${takes:+$word}
        elif [[ -z $command ]]; then
            command=$word
        else
            place=$((place + 1))
        fi
    done

    if [[ $current == = ]]; then
        current='' pending=${pending:--}
    elif [[ $current == :* ]]; then
        pending=-
    elif [[ -z $pending && -z $ended && $current == --*=* ]]; then
        # Only where = is taken out of COMP_WORDBREAKS.
        pending=${current%%=*} current=${current#*=}
        prefix=$pending=
    fi

    if [[ -n $pending ]]; then
        _wsctl_value "$command" "$pending"
    elif [[ -z $ended && $current == -* ]]; then
        _wsctl_options "$command"
    elif [[ -z $command ]]; then
        takes=word words='@commands@'
    else
        _wsctl_argument "$command" "$place"
    fi

    if [[ $takes == word ]]; then
        _wsctl_reply -P "$prefix" -W "$words" -- "$current"
    elif [[ $takes == path && -z $prefix ]] && compopt -o default 2>/dev/null; then
        : # readline completes the file: it knows about quotes and ~
    elif [[ $takes == path ]]; then
        _wsctl_reply -P "$prefix" -f -- "$current"
    fi
}

complete -F _wsctl wsctl
"""


def bash(tree: Tree) -> str:
    """Return the script for bash."""
    parts = {
        "@values@": [line for name, options in _all_options(tree) for line in _values(name, options)],
        "@arguments@": [
            f"{command.name}:{'*' if argument.repeats else place}) {_takes(argument.value)} ;;"
            for command in tree.commands
            for place, argument in enumerate(command.arguments)
        ],
        "@options@": [
            f"{name or _NO_COMMAND}) words='{' '.join(n for option in options for n in option.names)}' ;;"
            for name, options in _all_options(tree)
        ],
    }
    text = _SCRIPT.replace("@commands@", " ".join(command.name for command in tree.commands))
    for mark, lines in parts.items():
        text = text.replace(mark, "\n".join(" " * 8 + line for line in lines))
    return text


_NO_COMMAND = "''"


def _all_options(tree: Tree) -> list[tuple[str, tuple[Option, ...]]]:
    return [("", tree.options), *((command.name, command.options) for command in tree.commands)]


def _values(name: str, options: Iterable[Option]) -> list[str]:
    return [
        " | ".join(f"{name}:{n}" for n in option.names) + f") {_takes(option.value)} ;;"
        for option in options
        if option.value
    ]


def _takes(value: Value) -> str:
    if value.words:
        return f"takes=word words='{' '.join(value.words)}'"
    return "takes=path" if value.is_file else "takes=any"
