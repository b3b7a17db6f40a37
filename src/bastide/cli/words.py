"""Words of custodians, in and out: typed without echo, shown on a terminal and nowhere else.

There is no way to write them to a file or another program: what is no terminal keeps what it gets. They are shown on the terminal's second screen, which
goes back to the first without a trace in what can be scrolled back.
"""

import getpass
import os
import pwd
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from bastide.cli.console import Screen
from bastide.cli.exits import Exit, Stop
from bastide.domain.errors import InvalidInput

if TYPE_CHECKING:
    from bastide.services.break_glass.ports import Part, Sharing

_TRIES = 5
_COLUMNS = 4


def who() -> str:
    """Who runs this, as the system knows: the account, and who signed in to become it."""
    now = pwd.getpwuid(os.getuid()).pw_name
    with suppress(OSError):
        if (then := os.getlogin()) != now:
            return f"{now} ({then})"
    return now


def host() -> str:
    """This machine."""
    return socket.gethostname() or "unknown"


def require_terminal(screen: Screen, what: str) -> None:
    """Raises Stop where `what` would be kept by something else than a person."""
    # Not rich alone: FORCE_COLOR makes it take a pipe for a terminal.
    seen = sys.stdout.isatty() and screen.out.is_terminal and not screen.out.is_dumb_terminal
    if not (seen and sys.stdin.isatty()):
        raise Stop(
            f"{what} only on a terminal: a file or another program would keep it",
            remedy="run it at a console or over SSH, without a pipe, and with TERM set",
            status=Exit.USAGE,
        )


def ask(screen: Screen, sharing: "Sharing", whose: str) -> "tuple[str, Part] | None":
    """Words that are whole, from the terminal without echo, or as a line of standard input; None: nothing was typed. Raises InvalidInput."""
    tries = _TRIES if sys.stdin.isatty() else 1
    while True:
        said = _read(f"{whose}: ")
        if not said.strip():
            return None
        try:
            return said, sharing.read(said)
        except InvalidInput as error:
            tries -= 1
            if not tries:
                raise
            screen.note(f"{error.message}; {error.remedy}", "yellow")


def _read(prompt: str) -> str:
    try:
        return getpass.getpass(prompt) if sys.stdin.isatty() else sys.stdin.readline()
    except EOFError:
        return ""


def show_words(screen: Screen, heading: str, words: str) -> None:
    """Once, with a number for each."""
    numbered = [f"{place:2} {word:10}" for place, word in enumerate(words.split(), 1)]
    rows = [numbered[at : at + _COLUMNS] for at in range(0, len(numbered), _COLUMNS)]
    with _second(screen, heading, "Write them on the card, in this order. Enter clears the screen."):
        for row in rows:
            screen.line("  ".join(row), "bold", whole=True)


def show_password(screen: Screen, account: str, password: str) -> None:
    """Once."""
    with _second(screen, account, "It is good for one use. Enter clears the screen."):
        screen.line(password, "bold", whole=True)


@contextmanager
def _second(screen: Screen, heading: str, below: str) -> Iterator[None]:
    with screen.out.screen(hide_cursor=False):
        screen.line(heading)
        screen.line("")
        yield
        screen.line("")
        screen.line(below, "dim")
        sys.stdin.readline()
