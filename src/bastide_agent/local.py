"""The agent's Unix socket: the password filter asks it, and `bastide-agent status`.

The procedure:
  (1) Only root is answered, by what the kernel says of the caller (SO_PEERCRED), not by what the caller says. Anybody else is hung up on, and that is event 6002.
  (2) One question, one answer, of limited size, within seconds.
  (3) A password is compared and forgotten: it is in no answer, no event, no file.
  (4) What cannot be decided is said to be unknown; the asking program was told what to do then.
"""

import json
import socket
import struct
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Thread

from bastide_agent.events import EventLog
from bastide_agent.failures import Stop

_PEER = struct.Struct("3i")
_LARGEST = 256 * 1024
_PATIENCE = 2.0
_WAITING = 32
Answer = Mapping[str, object]


class WordList:
    """Words that no password may hold, without case; read again when the file changes."""

    def __init__(self, path: str) -> None:
        self._path = Path(path) if path else None
        self._words: tuple[str, ...] = ()
        self._read_at: tuple[int, int] | None = None

    def objection(self, password: str) -> str:
        """Why not; empty: no objection. Raises OSError, UnicodeDecodeError if the list cannot be read: then nobody knows."""
        folded = password.casefold()
        if any(word in folded for word in self._current()):
            return "it holds a banned word"
        return ""

    def problem(self) -> str:
        """Why it cannot decide now; empty: it can."""
        try:
            self._current()
        except (OSError, UnicodeDecodeError) as error:
            return f"the word list cannot be read: {type(error).__name__}"
        return ""

    def _current(self) -> tuple[str, ...]:
        if self._path is None:
            return ()
        found = self._path.stat()
        if self._read_at != (found.st_mtime_ns, found.st_size):
            lines = self._path.read_text(encoding="utf-8").splitlines()
            self._words = tuple(word for line in lines if (word := line.strip().casefold()))
            self._read_at = (found.st_mtime_ns, found.st_size)
        return self._words


@dataclass(slots=True)
class Asked:
    """How often the filter asked since the start, and what it heard. `undecided`: what `--when-down` says was done."""

    times: int = 0
    refused: int = 0
    undecided: int = 0

    def count(self, given: Answer) -> None:
        self.times += 1
        self.refused += given["verdict"] == "refuse"
        self.undecided += given["verdict"] == "unknown"


def filter_status(words: WordList | None, script: str | None, asked: Asked) -> Answer:
    """For `bastide-agent status`. `script`: what smb.conf has as `check password script`; None: not known."""
    used = (
        None if script is None else "bastide-agent" in script.replace("_", "-") and "filter" in script.split()
    )
    return {
        "enabled": words is not None,
        "used_by_samba": used,
        "asked": asked.times,
        "refused": asked.refused,
        "undecided": asked.undecided,
        "problem": _filter_problem(words, script, used=used),
    }


def _filter_problem(words: WordList | None, script: str | None, *, used: bool | None) -> str:
    if words is None:
        return (
            "smb.conf uses it, and filter.enabled is false: every new password is undecided" if used else ""
        )
    if found := words.problem():
        return found
    if used is False:
        other = "another `check password script`" if script else "no `check password script`"
        return f"filter.enabled is true, and smb.conf has {other}: nobody asks"
    return ""


def answer(question: object, words: WordList | None, status: Callable[[], Answer]) -> Answer:
    """(3), (4)."""
    match question:
        case {"ask": "status"}:
            return status()
        case {"ask": "filter", "password": str(password)}:
            return _verdict(password, words)
        case _:
            return {"verdict": "unknown", "reason": "that is no question"}


def _verdict(password: str, words: WordList | None) -> Answer:
    if words is None:
        return {"verdict": "unknown", "reason": "filter.enabled is false"}
    try:
        why = words.objection(password)
    except (OSError, UnicodeDecodeError) as error:
        return {"verdict": "unknown", "reason": f"the word list cannot be read: {type(error).__name__}"}
    return {"verdict": "refuse", "reason": why} if why else {"verdict": "allow"}


class LocalServer:
    """Answers one caller after the other, in a thread of its own."""

    def __init__(
        self, path: Path, words: WordList | None, status: Callable[[], Answer], log: EventLog
    ) -> None:
        self._path = path
        self._words = words
        self._status = status
        self._log = log
        self.asked = Asked()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._thread = Thread(target=self._run, name="local", daemon=True)
        self._stopping = False

    def start(self) -> None:
        """Raises Stop."""
        try:
            self._path.unlink(missing_ok=True)
            self._socket.bind(str(self._path))
            self._path.chmod(0o600)
            self._socket.listen(_WAITING)
        except OSError as error:
            raise Stop(7000, f"the socket {self._path} cannot be made: {error}") from None
        self._thread.start()

    def stop(self) -> None:
        self._stopping = True
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        if self._thread.is_alive():
            self._thread.join(_PATIENCE)
        self._socket.close()
        self._path.unlink(missing_ok=True)

    def _run(self) -> None:
        while not self._stopping:
            try:
                caller, _ = self._socket.accept()
            except OSError:
                return
            with caller:
                caller.settimeout(_PATIENCE)
                with suppress(OSError, ValueError):
                    self._serve(caller)

    def _serve(self, caller: socket.socket) -> None:
        pid, uid, _ = _PEER.unpack(caller.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
        if uid != 0:  # (1)
            self._log.write(6002, detail=f"process {pid} of user {uid} is not root and was not answered")
            return
        question = json.loads(caller.recv(_LARGEST))  # (2)
        given = answer(question, self._words, self._status)
        if "verdict" in given:
            self.asked.count(given)
        caller.sendall(json.dumps(given).encode())
