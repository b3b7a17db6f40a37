"""A group of commands, and in its help the few of them that a first use needs, in their order."""

from typing import Any

import typer
from typer.core import TyperGroup

#: What a step does, and its command as it is typed.
Step = tuple[str, str]


class Group(TyperGroup):
    """Its epilogue is printed as it stands: a command that was folded, or lost its brackets to markup, cannot be copied."""

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
