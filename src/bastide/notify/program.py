"""Short messages to telephones, by a program of the administrator's: a gateway, a modem, a provider's API.

(1) No shell. What is said goes in on standard input as one line of JSON, `{"to": "+33...", "text": "..."}`, and nothing in arguments or the environment.
(2) The program and its folders belong to root or to us, and nobody else can write them: whoever could change it would read every code.
(3) Exit code 0 means taken. What it says on standard error is kept out of logs: it may repeat the message.
"""

import json
import os
import stat
import subprocess
from pathlib import Path

from bastide.domain.errors import NotConfigured, TargetUnavailable

_LONGEST = 30.0
_REMEDY = "docs/how-to/self-service-reset.md says what the program has to be"


class ProgramTexts:
    """As the port Texts."""

    def __init__(self, path: Path, *, longest: float = _LONGEST) -> None:
        self._path = path
        self._longest = longest

    def __repr__(self) -> str:
        return f"ProgramTexts({str(self._path)!r})"

    def send(self, number: str, text: str) -> None:
        if wrong := problem(self._path):
            raise NotConfigured(wrong, remedy=_REMEDY)
        try:
            done = subprocess.run(  # noqa: S603  # (1), (2)
                [str(self._path)],
                input=json.dumps({"to": number, "text": text}).encode() + b"\n",
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={"PATH": "/usr/bin:/bin"},
                cwd="/",
                timeout=self._longest,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise TargetUnavailable(f"{self._path} did not end within {self._longest:.0f} s") from None
        except OSError as error:
            raise NotConfigured(f"{self._path} cannot be started: {error.strerror}", remedy=_REMEDY) from None
        if done.returncode:  # (3)
            raise TargetUnavailable(f"{self._path} did not take the message: it ended with {done.returncode}")


def problem(path: Path, user: int | None = None) -> str:
    """(2) Why the program is not used; empty: it is. `user`: the uid that it may belong to, beside root; None: ours."""
    owners = {0, os.geteuid() if user is None else user}
    for one in (path, *path.parents):
        try:
            found = one.stat()
        except OSError as error:
            return f"{one} cannot be read: {error.strerror}"
        if found.st_uid not in owners:
            return f"{one} belongs to somebody else"
        sticky = stat.S_ISDIR(found.st_mode) and found.st_mode & stat.S_ISVTX
        if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not sticky:
            return f"{one} can be written by others"
    return "" if os.access(path, os.X_OK) and path.is_file() else f"{path} is no program"
