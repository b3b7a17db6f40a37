"""Words of custodians, in and out: typed without echo, shown on a terminal and nowhere else.

There is no way to write them to a file or another program: what is no terminal keeps what it gets. They are shown on the terminal's second screen, which
goes back to the first without a trace in what can be scrolled back. The console of Linux has no second screen, and others can be set to have none: so it is
emptied as well, before and after, line by line, because a terminal may keep for scrolling what it erases as a whole.
"""

import getpass
import os
import pwd
import socket
import sys
import termios
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
#: ECMA-48, CUP and EL.
_HOME, _ERASE_LINE = "\x1b[H", "\x1b[2K"


def who() -> str:
    """Who runs this, as the system knows: the account, and who signed in to become it. A system that cannot look up names still has a number."""
    now = f"uid {os.getuid()}"
    with suppress(KeyError):
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
        try:
            _empty(screen)
            forget_typed()
            screen.line(heading)
            screen.line("")
            yield
            screen.line("")
            screen.line(below, "dim")
            sys.stdin.readline()
        finally:
            _empty(screen)


def forget_typed() -> None:
    """What was typed too early neither shows nor clears anything."""
    if sys.stdin.isatty():
        termios.tcflush(sys.stdin, termios.TCIFLUSH)


def _empty(screen: Screen) -> None:
    if screen.out.is_terminal:
        lines = "\r\n".join([_ERASE_LINE] * screen.out.size.height)
        screen.out.file.write(f"{_HOME}{lines}{_HOME}")
        screen.out.file.flush()
