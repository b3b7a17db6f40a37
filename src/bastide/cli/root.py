"""The root of all commands: wrong usage, which the parser finds before any command runs, is JSON too where `--json` asks for it."""

import sys
from collections.abc import Sequence
from typing import Any

import typer
from typer.core import TyperGroup

from bastide.cli.console import Screen
from bastide.cli.exits import Exit, Stop
from bastide.cli.group import bare

#: Every error of the parser. typer brings a click of its own and has no public name for it, only for one kind of it.
_UsageError = typer.BadParameter.__bases__[0]


class Root(TyperGroup):
    """Ends with an exit code, as any group does."""

    def get_params(self, ctx: Any) -> list[Any]:
        """With `--help`."""
        return bare(super().get_params(ctx))

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Run the command that the arguments name."""
        words = list(sys.argv[1:] if args is None else args)
        as_json = standalone_mode and "--json" in words
        try:
            status = super().main(
                words, prog_name, complete_var, standalone_mode and not as_json, windows_expand_args, **extra
            )
        except typer.Abort:
            if not as_json:
                raise
            stop = Stop("aborted")
        except Exception as error:
            if not as_json or not isinstance(error, _UsageError):
                raise
            stop = Stop(
                _said(error), remedy="`--help` after the command shows what it takes", status=Exit.USAGE
            )
        else:
            if not as_json:
                return status
            sys.exit(int(status or Exit.OK))
        Screen().stop(stop, as_json=True)
        sys.exit(int(stop.status))


def _said(error: Any) -> str:
    return str(error.format_message())
