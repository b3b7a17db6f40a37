"""What every command has in common: its options, the client, an example in its help, and how an error ends it."""

import functools
import inspect
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bastide.cli import ask, connection, ticket
from bastide.cli.console import Column, Screen
from bastide.cli.exits import as_stop
from bastide.cli.group import HelpedCommand
from bastide.clock import SystemClock

if TYPE_CHECKING:
    import httpx

    from bastide.cli.client import Answer, Client, Handshake

Command = Callable[..., None]
_REMOTE = "Server and sign-in"


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a test replaces: the wire, the ticket, the person at the keyboard, time."""

    transport: "httpx.BaseTransport | None" = None
    handshake: "Callable[[str], Handshake]" = ticket.Exchange
    ask: Callable[[str], str] = ask.secret
    now: Callable[[], datetime] = field(default=SystemClock().now)
    sleep: Callable[[float], None] = time.sleep


class Call:
    """One command under way. The client connects when it is first used."""

    def __init__(
        self, screen: Screen, world: Surroundings, connect: "Callable[[], Client]", *, as_json: bool
    ) -> None:
        self.screen = screen
        self.world = world
        self.as_json = as_json
        self._connect = connect

    @functools.cached_property
    def client(self) -> "Client":
        return self._connect()

    def show(self, answer: "Answer", render: Callable[[Mapping[str, Any]], None]) -> None:
        """One object: the server's JSON as it is, or for people."""
        if self.as_json:
            self.screen.raw_json(answer.text)
        else:
            render(answer.fields)

    def table(self, answer: "Answer", columns: list[Column], *, empty: str) -> None:
        """A listing: the server's JSON as it is, or a table."""
        if self.as_json:
            self.screen.raw_json(answer.text)
        else:
            self.screen.table(columns, answer.items, empty=empty)

    def done(self, answer: "Answer", sentence: str) -> None:
        """A change that was made: the server's JSON, or one sentence."""
        self.show(answer, lambda _: self.screen.line(sentence, "green"))


_KEYWORD = inspect.Parameter.KEYWORD_ONLY
_JSON = inspect.Parameter(
    "as_json",
    _KEYWORD,
    default=False,
    annotation=Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")],
)
_CONTEXT = inspect.Parameter("ctx", _KEYWORD, annotation=typer.Context)
_CONNECTION = (
    inspect.Parameter(
        "server",
        _KEYWORD,
        default="",
        annotation=Annotated[
            str,
            typer.Option(
                metavar="URL",
                help="The server. Default: $BASTIDE_SERVER, then /etc/bastide/client.toml.",
                rich_help_panel=_REMOTE,
            ),
        ],
    ),
    inspect.Parameter(
        "ca",
        _KEYWORD,
        default="",
        annotation=Annotated[
            str,
            typer.Option(
                metavar="FILE",
                help="The authority that signed its certificate. Default: $BASTIDE_CA, then the system's.",
                rich_help_panel=_REMOTE,
            ),
        ],
    ),
    inspect.Parameter(
        "account",
        _KEYWORD,
        default="",
        annotation=Annotated[
            str,
            typer.Option(
                metavar="FOREST\\NAME",
                help="Sign in with password and code, as in 'CORP\\alice' (in quotes). Default: your Kerberos ticket.",
                rich_help_panel=_REMOTE,
            ),
        ],
    ),
)


def remote(app: typer.Typer, name: str, *, example: str) -> Callable[[Command], Command]:
    """A command that calls the server. The function's first argument is its Call."""

    def decorate(function: Command) -> Command:
        @functools.wraps(function)
        def command(
            *, ctx: typer.Context, server: str, ca: str, account: str, as_json: bool, **given: Any
        ) -> None:
            world = ctx.obj if isinstance(ctx.obj, Surroundings) else Surroundings()
            screen = Screen()
            with _ending(screen, as_json=as_json), ExitStack() as stack:
                function(
                    Call(screen, world, lambda: _open(stack, world, server, ca, account), as_json=as_json),
                    **given,
                )

        return _register(app, name, function, command, example, (*_CONNECTION, _JSON))

    return decorate


def _open(stack: ExitStack, world: Surroundings, server: str, ca: str, account: str) -> "Client":
    from bastide.cli.client import Client  # noqa: PLC0415  # httpx takes 0.1 s that --help does not need

    where = connection.resolve(server, ca, account)
    return stack.enter_context(
        Client(where, ask=world.ask, handshake=world.handshake, transport=world.transport)
    )


def local(app: typer.Typer, name: str, *, example: str) -> Callable[[Command], Command]:
    """A command on the server itself. The function's first two arguments are the Screen and whether to print JSON."""

    def decorate(function: Command) -> Command:
        @functools.wraps(function)
        def command(*, ctx: typer.Context, as_json: bool, **given: Any) -> None:  # noqa: ARG001  # one shape for both kinds
            screen = Screen()
            with _ending(screen, as_json=as_json):
                function(screen, as_json, **given)

        return _register(app, name, function, command, example, (_JSON,), own=2)

    return decorate


def _register(
    app: typer.Typer,
    name: str,
    function: Command,
    command: Command,
    example: str,
    shared: tuple[inspect.Parameter, ...],
    own: int = 1,
) -> Command:
    """Typer reads a signature: give it the function's own parameters and the shared ones."""
    parameters = list(inspect.signature(function, eval_str=True).parameters.values())[own:]
    keywords = [parameter.replace(kind=_KEYWORD) for parameter in parameters]
    everything = [_CONTEXT, *keywords, *shared]
    command.__signature__ = inspect.Signature(everything)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in everything}
    app.command(name, cls=HelpedCommand, epilog=f"Example:  {example}")(command)
    return function


class _ending:  # noqa: N801  # reads as a statement: with _ending(screen)
    """Turns every error a command may end with into one sentence and an exit code. Anything else is a defect and keeps its traceback."""

    def __init__(self, screen: Screen, *, as_json: bool) -> None:
        self._screen = screen
        self._as_json = as_json

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        stop = as_stop(error)
        if stop is not None:
            self._screen.stop(stop, as_json=self._as_json)
            raise typer.Exit(int(stop.status)) from None
