"""Asking the person: passwords and codes come from the terminal without echo, or line by line from standard input.

Never from arguments or the environment: both can be read by others while the command runs.
"""

import getpass
import sys

from bastide.cli.exits import Exit, Stop


def secret(prompt: str) -> str:
    """A password or code. On a terminal without echo; else one line of standard input. Raises Stop."""
    try:
        typed = getpass.getpass(f"{prompt}: ") if sys.stdin.isatty() else sys.stdin.readline()
    except EOFError:
        typed = ""
    typed = typed.rstrip("\r\n")
    if not typed:
        raise Stop(
            f"no {prompt.lower()} was given",
            remedy="type it, or give it as a line on standard input",
            status=Exit.NOT_SIGNED_IN,
        )
    return typed


def new_secret(prompt: str) -> str:
    """A new password: twice on a terminal, once from standard input. Raises Stop."""
    first = secret(prompt)
    if sys.stdin.isatty() and secret(f"{prompt} again") != first:
        raise Stop("the two passwords differ", remedy="try again", status=Exit.USAGE)
    return first


def line(prompt: str, default: str = "") -> str:
    """An ordinary answer, asked for until there is one; the default without a terminal. Raises Stop if there is neither."""
    shown = f"{prompt} [{default}]: " if default else f"{prompt}: "
    answer = default
    try:
        if sys.stdin.isatty():
            answer = input(shown).strip() or default
            while not answer:
                answer = input(f"An answer is needed. {shown}").strip()
    except EOFError:
        answer = ""
    if not answer:
        raise Stop(f"{prompt}: no answer", remedy="give it in the --answers file", status=Exit.USAGE)
    return answer


def confirm(question: str, *, yes: bool) -> None:
    """Raise Stop unless the person says yes. Without a terminal only `--yes` is a yes."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise Stop("this needs a confirmation", remedy="say --yes", status=Exit.USAGE)
    if input(f"{question} [y/N] ").strip().lower() not in {"y", "yes"}:
        raise Stop("nothing was done")
