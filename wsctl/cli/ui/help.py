"""Help as plain text: options in groups, and descriptions in full."""

from typing import Any

from typer.core import TyperCommand, TyperGroup

WHOLE = 1000
"""Characters of a command's first sentence that are shown: more than any has."""


class GroupedCommand(TyperCommand):
    """A command whose options stand in help under the group that each names as `rich_help_panel`; those
    without one come first. Typer itself groups only where rich draws the help, which is slow to load."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        sections: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": []}
        for param in self.get_params(ctx):
            if row := param.get_help_record(ctx):
                plain = "Arguments" if param.param_type_name == "argument" else "Options"
                sections.setdefault(getattr(param, "rich_help_panel", None) or plain, []).append(row)
        for title, rows in sections.items():
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)


class CommandTree(TyperGroup):
    """The program: without arguments it shows its help, and there each command's first sentence whole."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, args or ["--help"])

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        shown = [(name, command) for name, command in self.commands.items() if not command.hidden]
        with formatter.section("Commands"):
            formatter.write_dl([(name, command.get_short_help_str(WHOLE)) for name, command in shown])
