"""Looks for planted passwords where none may be: in files, in the arguments and the environment of our processes.

A planted password has a beginning that nothing else has. Clear, UTF-16LE, base64 and hexadecimal are looked for by that beginning, so that a torn or
cut copy is found as well; the NT hash, which has no beginning, by the whole of each.
"""

import base64
import mmap
import os
import sys
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from bastide.store.md4 import Md4NtHasher

Needles = Mapping[str, bytes]
_STEP = 0.2
_OURS = (b"bastide.cli.main", b"bastide_agent.main")


def beginnings(mark: str) -> dict[str, bytes]:
    """What every copy of a password that begins with `mark` (ASCII) has in it, by the name of its form."""
    clear, wide = mark.encode(), mark.encode("utf-16-le")
    found = {"clear": clear, "UTF-16LE": wide, "UTF-16BE": mark.encode("utf-16-be")}
    for name, raw in (("clear", clear), ("UTF-16LE", wide)):
        found[f"hex of {name}"] = raw.hex().encode()
        found[f"HEX of {name}"] = raw.hex().upper().encode()
        for shift in range(3):
            found[f"base64 of {name}, shifted by {shift}"] = _base64_middle(raw, shift)
    return found


def _base64_middle(raw: bytes, shift: int) -> bytes:
    """The characters that are the same whatever stands before and after: base64 works on three bytes at a time."""
    first = -(-shift // 3) * 3 - shift if shift else 0
    whole = raw[first : first + (len(raw) - first) // 3 * 3]
    return base64.b64encode(whole)


def hashes(passwords: Iterable[str]) -> dict[str, bytes]:
    """The NT hashes, raw and written out."""
    found: dict[str, bytes] = {}
    for number, password in enumerate(passwords):
        raw = Md4NtHasher().nt_hash(password)
        found |= {
            f"NT hash {number}": raw,
            f"hex of NT hash {number}": raw.hex().encode(),
            f"HEX of NT hash {number}": raw.hex().upper().encode(),
            f"base64 of NT hash {number}": base64.b64encode(raw),
        }
    return found


def in_bytes(content: "bytes | mmap.mmap", needles: Needles) -> list[str]:
    return [name for name, needle in needles.items() if content.find(needle) != -1]


def in_file(path: Path, needles: Needles) -> list[str]:
    """The forms that a file has in it. A file that goes away meanwhile has none."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return in_bytes(content, needles)
    except (FileNotFoundError, ValueError):  # ValueError: empty
        return []


def in_files(
    roots: Iterable[Path], needles: Needles, *, newer_than: float = 0.0, largest: int = sys.maxsize
) -> dict[Path, list[str]]:
    """Regular files below the roots, by what was found: those changed since a moment, and no larger."""
    found: dict[Path, list[str]] = {}
    for path in _regular(roots):
        with suppress(FileNotFoundError):
            about = path.stat()
            if about.st_mtime >= newer_than and about.st_size <= largest and (here := in_file(path, needles)):
                found[path] = here
    return found


def _regular(roots: Iterable[Path]) -> Iterator[Path]:
    for root in roots:
        for folder, _, names in os.walk(root):
            for name in names:
                path = Path(folder, name)
                if path.is_file() and not path.is_symlink():
                    yield path


# ------------------------------------------------------------------------------------------------------------- processes


@dataclass
class Watch:
    """Reads /proc/*/cmdline and environ of our processes, and of all that they start, until it is stopped."""

    needles: Needles
    more: Collection[bytes] = ()
    seen: set[int] = field(default_factory=set)
    found: list[str] = field(default_factory=list)
    _stopping: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join(30)

    def _run(self) -> None:
        while not self._stopping.wait(_STEP):
            self.look()

    def look(self) -> None:
        """Once."""
        ours: set[int] = set()
        for pid in sorted(int(name.name) for name in Path("/proc").iterdir() if name.name.isdigit()):
            with suppress(OSError):
                self._look_at(pid, ours)

    def _look_at(self, pid: int, ours: set[int]) -> None:
        folder = Path(f"/proc/{pid}")
        arguments = (folder / "cmdline").read_bytes()
        parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        if parent not in ours and not any(mark in arguments for mark in (*_OURS, *self.more)):
            return
        ours.add(pid)
        self.seen.add(pid)
        for what, content in (("cmdline", arguments), ("environ", (folder / "environ").read_bytes())):
            self.found += [f"{name} in {what} of {pid}" for name in in_bytes(content, self.needles)]
