"""A group of commands, and in its help the few of them that a first use needs, in their order. Help shows a flag as it is typed: the parser would write a type
beside it, and nobody can type one there.
"""

from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

#: What a step does, and its command as it is typed.
Step = tuple[str, str]


def bare(parameters: list[Any]) -> list[Any]:
    """The same, with nothing beside flags."""
    for one in parameters:
        if getattr(one, "is_flag", False):
            one.metavar = ""
    return parameters


class HelpedCommand(TyperCommand):
    """A command, for its help."""

    def get_params(self, ctx: Any) -> list[Any]:
        """With `--help`."""
        return bare(super().get_params(ctx))


class Group(TyperGroup):
    """Its epilogue is printed as it stands: a command that was folded, or lost its brackets to markup, cannot be copied."""

    def get_params(self, ctx: Any) -> list[Any]:
        """With `--help`."""
        return bare(super().get_params(ctx))

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """As of any group, which is on the screen when this returns, then the epilogue."""
        said, self.epilog = self.epilog, None
        try:
            super().format_help(ctx, formatter)
        finally:
            self.epilog = said
        if said:
            typer.echo(f"\n{said}")


def group(what: str, *steps: Step) -> typer.Typer:
    """A group with this help, and `steps` below "Begin here"."""
    return typer.Typer(help=what, cls=Group, epilog=_begin(steps) or None, no_args_is_help=True)


def _begin(steps: tuple[Step, ...]) -> str:
    lines = [f"  {number}. {what}\n       {command}" for number, (what, command) in enumerate(steps, 1)]
    return "\n".join(["Begin here:", "", *lines]) if lines else ""
