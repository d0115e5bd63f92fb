"""The script for PowerShell 5.1 and later."""

from collections.abc import Iterable

from wsctl.cli.completion_scripts.tree import Argument, Option, Tree, Value

_SCRIPT = r"""# Completion of wsctl for PowerShell, made by: wsctl completions powershell

Register-ArgumentCompleter -Native -CommandName wsctl -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)

    $commands = @(
@commands@
    )
    # By command; '' is before the command. A flag takes nothing.
    $options = @{
@options@
    }
    $arguments = @{
@arguments@
    }

    $command = ''
    $place = 0
    $ended = $false
    $pending = $null
    foreach ($element in @($commandAst.CommandElements | Select-Object -Skip 1)) {
        if ($element.Extent.EndOffset -ge $cursorPosition) { break }
        $word = $element.Extent.Text
        if ($pending) { $pending = $null }
        elseif (-not $ended -and $word -eq '--') { $ended = $true }
        elseif (-not $ended -and $word -like '-?*') {
            $pending = @($options[$command]) | Where-Object { $_.Name -eq $word -and $_.Takes }
        }
        elseif ($command -eq '') { $command = $word }
        else { $place += 1 }
    }

    $typed = $wordToComplete
    $prefix = ''
    if (-not $pending -and -not $ended -and $typed -match '^(--[^=]+)=(.*)$') {
        $name = $Matches[1]
        $typed = $Matches[2]
        $prefix = "$name="
        $pending = @($options[$command]) | Where-Object { $_.Name -eq $name -and $_.Takes }
    }

    $offered = @()
    if (-not $pending -and -not $ended -and $typed -like '-*') { $offered = @($options[$command]) }
    elseif (-not $pending -and $command -eq '') { $offered = $commands }
    else {
        if (-not $pending) {
            $several = @($arguments[$command])
            $pending = $several[[Math]::Min($place, $several.Count - 1)]
            if ($place -ge $several.Count -and -not $pending.Repeats) { $pending = $null }
        }
        # With no answer at all, PowerShell completes files.
        if ($pending.Takes -eq 'file') { return }
        $offered = @($pending.Words | Where-Object { $_ } | ForEach-Object { @{ Name = $_; Help = $_ } })
    }

    $found = @($offered | Where-Object { $_.Name -and $_.Name.StartsWith($typed) } | ForEach-Object {
        $whole = $prefix + $_.Name
        [System.Management.Automation.CompletionResult]::new($whole, $_.Name, 'ParameterValue', $_.Help)
    })
    if ($found.Count) { $found } else { '' }
}
"""


def powershell(tree: Tree) -> str:
    """Return the script for PowerShell."""
    commands = [f"        @{{ Name = '{c.name}'; Help = {_quoted(c.help)} }}" for c in tree.commands]
    options = [_table("", map(_option, _names(tree.options)))]
    options += [_table(c.name, map(_option, _names(c.options))) for c in tree.commands]
    arguments = [_table(c.name, map(_argument, c.arguments)) for c in tree.commands if c.arguments]
    text = _SCRIPT.replace("@commands@", "\n".join(commands))
    return text.replace("@options@", "\n".join(options)).replace("@arguments@", "\n".join(arguments))


def _table(name: str, rows: Iterable[str]) -> str:
    lines = "".join(f"            @{{ {row} }}\n" for row in rows)
    return f"        '{name}' = @(\n{lines}        )"


def _names(options: Iterable[Option]) -> Iterable[tuple[str, Option]]:
    return [(name, option) for option in options for name in option.names]


def _option(named: tuple[str, Option]) -> str:
    name, option = named
    value = f"; {_value(option.value)}" if option.value else ""
    return f"Name = '{name}'; Help = {_quoted(option.help or name)}{value}"


def _argument(argument: Argument) -> str:
    return f"{_value(argument.value)}; Repeats = ${str(argument.repeats).lower()}"


def _value(value: Value) -> str:
    words = ", ".join(_quoted(word) for word in value.words)
    takes = "word" if value.words else "file" if value.is_file else "any"
    return f"Takes = '{takes}'; Words = @({words})"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
